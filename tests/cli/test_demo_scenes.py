"""`lns demo-scenes` from the command line's dataclass to the files."""

from pathlib import Path

import pytest
import tyro

from latent_nerfstudio.cli.making import DemoScenes


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def run(out: Path, *flags: str) -> None:
    tyro.cli(DemoScenes, args=["--output", str(out), "--views", "4", "--size", "16", "--workers", "1", *flags]).main()


def test_scenes_are_complete_and_a_seed_gives_the_same_bytes_whatever_else_is_made(tmp_path, capsys):
    run(tmp_path / "two", "--num-scenes", "2")
    expected = {"transforms.json"} | {f"images/000{index}.png" for index in range(4)}
    files = {f"{name}/{file}" for name in ("car_0000", "car_0001") for file in expected}
    assert set(contents(tmp_path / "two")) == files and "Wrote 2 scenes of 4 views" in capsys.readouterr().out
    run(tmp_path / "one", "--num-scenes", "1", "--start", "1")
    run(tmp_path / "other", "--num-scenes", "1", "--start", "1", "--seed", "1")
    assert contents(tmp_path / "two" / "car_0001") == contents(tmp_path / "one" / "car_0001")
    assert contents(tmp_path / "one" / "car_0001") != contents(tmp_path / "other" / "car_0001")
    assert contents(tmp_path / "two" / "car_0000") != contents(tmp_path / "two" / "car_0001")
    run(tmp_path / "by two", "--num-scenes", "2", "--workers", "2")
    assert contents(tmp_path / "by two") == contents(tmp_path / "two")


def test_scenes_are_only_replaced_when_asked(tmp_path):
    run(tmp_path, "--num-scenes", "1")
    before = contents(tmp_path)
    with pytest.raises(FileExistsError, match=r"car_0000: .*; pass --overwrite"):
        run(tmp_path, "--num-scenes", "2", "--views", "3")
    assert contents(tmp_path) == before
    run(tmp_path, "--num-scenes", "1", "--views", "3", "--overwrite")
    assert len(contents(tmp_path)) == 4
    (tmp_path / "car_0001").touch()
    with pytest.raises(FileExistsError, match="car_0001: expected a folder or nothing"):
        run(tmp_path, "--num-scenes", "2", "--overwrite")
    assert len(contents(tmp_path)) == 5


@pytest.mark.parametrize(
    ("flags", "message"),
    [(["--start", "-1"], "start: expected at least 0, got -1"), (["--workers", "0"], "workers: expected at least 1")],
)
def test_impossible_numbers_are_refused_before_anything_is_written(tmp_path, flags, message):
    with pytest.raises(ValueError, match=message):
        run(tmp_path / "out", *flags)
    assert not (tmp_path / "out").exists()
