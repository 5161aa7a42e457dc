"""Data that are not in memory: made when asked for, mapped from a file, and when that is done."""

import threading

import pytest
import torch

from latent_nerfstudio.data.storage import Lazy, Prefetched, concatenated, must_stream


def test_lazy_items_are_made_when_they_are_asked_for_and_kept_for_a_while():
    made = []
    squares = Lazy(4, lambda i: made.append(i) or i * i)
    assert len(squares) == 4 and made == []
    assert squares[3] == 9 and made == [3]
    assert list(squares) == [0, 1, 4, 9] and made == [3, 0, 1, 2, 3]
    for index in (4, -1):
        with pytest.raises(IndexError, match=f"position: expected one below 4, got {index}"):
            squares[index]
    made = []
    items = Prefetched(10, lambda i: made.append(i) or i, kept=3)
    assert items.many([1, 2, 3]) == [1, 2, 3] and items[2] == 2
    assert sorted(made) == [1, 2, 3]
    items.many([4, 5, 6])
    assert items[1] == 1 and made.count(1) == 2
    done = threading.Event()
    items = Prefetched(10, lambda i: done.set() if i == 7 else None, kept=3)
    items.expect([7])
    assert done.wait(timeout=20)


@pytest.mark.parametrize("kind", [torch.float16, torch.uint8])
def test_a_file_holds_what_memory_would(kind, tmp_path):
    parts = [(torch.rand(h, w, 3) * 200).to(kind) for h, w in [(2, 3), (4, 1), (1, 5)]]
    parts[1] = parts[1].transpose(0, 1)  # not contiguous
    values, sizes = concatenated(parts)
    mapped, same_sizes = concatenated((part for part in parts), tmp_path / "new")
    assert sizes == same_sizes == [(2, 3), (1, 4), (1, 5)]
    assert mapped.dtype == kind and torch.equal(mapped, values)
    assert torch.equal(mapped[torch.tensor([0, 14, 7])], values[torch.tensor([0, 14, 7])])
    assert list((tmp_path / "new").iterdir()) == []  # the file has no name any more


def test_a_folder_that_is_a_file(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        concatenated([torch.zeros(2, 2, 3)], tmp_path / "file")


@pytest.mark.parametrize(
    ("wanted", "needed", "expected"),
    [("auto", 60, False), ("auto", 61, True), ("memory", 1000, False), ("stream", 0, True)],
)
def test_when_data_are_streamed(wanted, needed, expected):
    assert must_stream(wanted, needed, free=100) == expected
