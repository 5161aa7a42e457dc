"""Chunks that one worker fits one after the other leave nothing behind in its memory."""

from inventories import inventory_of, write_bundle
from nerfstudio.utils import profiler, writer
from tiny import living_tensors

from latent_nerfstudio.fleet.fit_chunk import fit_chunk
from latent_nerfstudio.fleet.settings import ChunkJob


def test_chunks_leave_no_tensors_behind(balls, kl, tmp_path):
    bundle = write_bundle(tmp_path / "bundle", kl)
    counts = []
    for turn in range(3):
        inventory = inventory_of(balls, tmp_path / str(turn), bundle, rgb_alignment_start=2)
        rows = fit_chunk(ChunkJob(inventory, ("b",)))
        assert [row.state for row in rows] == ["done"]
        counts += [living_tensors()] if turn else []
    assert counts[0] == counts[1]
    assert (len(writer.EVENT_WRITERS), len(profiler.PROFILER)) == (0, 1)
