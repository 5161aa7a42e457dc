"""Rays in chunks, which become smaller where memory lacks."""

import pytest
import torch
from small_nerfs import rays_towards

from latent_nerfstudio.models.camera_rendering import FEWEST_RAYS, in_chunks


def renderer(most, sizes):
    """Renders no more rays at once than some."""

    def render(rays):
        sizes.append(len(rays))
        if len(rays) > most:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.\nMore.")
        return {"rgb": rays.directions}

    return render


@pytest.mark.parametrize(
    ("most", "expected"), [(1000, [400, 400, 200]), (250, [400] + [200] * 5), (100, [400, 200] + [100] * 10)]
)
def test_all_rays_come_in_their_order(most, expected, capsys):
    rays, sizes = rays_towards(1000), []
    chunks = in_chunks(renderer(most, sizes), rays, 400)
    assert torch.equal(torch.cat([chunk["rgb"] for chunk in chunks]), rays.directions)
    assert sizes == expected
    assert ("200 rays at once from now on" in capsys.readouterr().out) == (most < 400)


def test_too_little_memory_for_any_chunk():
    sizes = []
    with pytest.raises(MemoryError, match=f"rendering {FEWEST_RAYS} rays: expected room .*, got CUDA out of.*2 GiB"):
        in_chunks(renderer(10, sizes), rays_towards(1000), 200)
    assert sizes == [200, 100, FEWEST_RAYS]


def test_no_rays():
    assert in_chunks(renderer(10, []), rays_towards(0), 200) == []
