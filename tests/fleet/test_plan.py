"""Which scenes are left, in which chunks, and how many fit into memory."""

import json
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from inventories import inventory_of, write_bundle

from latent_nerfstudio.fleet import plan
from latent_nerfstudio.fleet.plan import SceneSize, find_names, finished, plan_jobs, scene_bytes
from latent_nerfstudio.fleet.settings import OF_OLD, ChunkJob, FitSettings, Inventory, keep_settings
from latent_nerfstudio.fleet.status import SceneStatus
from latent_nerfstudio.method_configs.triplane import latent_triplane
from latent_nerfstudio.models.shared_bundle import read_shared_bundle
from latent_nerfstudio.scene_files.scene_file import SceneFile, write_scene_file

UNREAD = Inventory(Path(), Path(), "bundle", FitSettings("abc", steps=10), latent_triplane.config)


def sizes(count, size, workers):
    return [len(job.names) for job in plan_jobs(UNREAD, [str(i) for i in range(count)], size, workers)]


def test_chunks_by_hand():
    assert sizes(10, 4, 1) == [3, 3, 4]
    assert sizes(8, 4, 1) == [4, 4]
    assert sizes(10, 32, 4) == [2, 3, 2, 3]
    assert sizes(3, 32, 8) == [1, 1, 1]
    assert sizes(0, 32, 8) == []


@given(st.integers(1, 200), st.integers(1, 40), st.integers(1, 9))
def test_chunks_hold_each_scene_once_and_are_about_equal(count, size, workers):
    names = [str(i) for i in range(count)]
    jobs = plan_jobs(UNREAD, names, size, workers)
    assert [name for job in jobs for name in job.names] == names
    lengths = [len(job.names) for job in jobs]
    assert max(lengths) <= size and max(lengths) - min(lengths) <= 1 and len(jobs) >= min(workers, count)


def test_halves(balls, tmp_path, bundle):
    job = ChunkJob(inventory_of(balls, tmp_path, bundle), ("a", "b", "c"))
    assert [half.names for half in job.halves()] == [("a",), ("b", "c")]


def test_names_are_found_without_reading_a_scene(balls, tmp_path):
    assert find_names(balls) == ["a", "b", "c"]
    assert find_names(balls / "a") == ["a"]
    assert find_names(balls, ["c", "a"]) == ["a", "c"]
    for name in ("good", "broken"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "transforms.json").write_text("nothing")
    assert find_names(tmp_path) == ["broken", "good"]
    with pytest.raises(FileNotFoundError, match="nowhere: expected a folder of scenes, got no folder"):
        find_names(tmp_path / "nowhere")
    with pytest.raises(ValueError, match="expected names of scenes in .*, such as .*, got 'z'"):
        find_names(balls, ["z"])


def write_scene(inventory, name, **facts):
    """A scene of the tiny bundle's shapes."""
    facts = {"settings": inventory.settings.fingerprint(), "psnr": 20.0, **facts}
    own = SceneFile(name, inventory.settings.bundle, torch.ones(3, 4, 8, 8), torch.ones(2), facts)
    write_scene_file(inventory.scene_path(name), own)
    return inventory.scene_path(name)


def test_finished_scenes_are_those_whose_files_verify(balls, tmp_path, bundle):
    inventory = inventory_of(balls, tmp_path / "out", bundle)
    read = read_shared_bundle(str(bundle))
    path = write_scene(inventory, "a")
    tampered = write_scene(inventory, "b")
    assert finished(inventory, read, ["a", "b", "c"]) == {
        name: SceneStatus(name, "done", psnr=20.0, bytes=path.stat().st_size) for name in ("a", "b")
    }
    contents = bytearray(tampered.read_bytes())
    contents[-1] ^= 1
    tampered.write_bytes(contents)
    assert list(finished(inventory, read, ["a", "b", "c"])) == ["a"]
    tampered.write_bytes(path.read_bytes())  # another scene's
    assert list(finished(inventory, read, ["a", "b", "c"])) == ["a"]


def test_files_of_older_versions_that_name_their_worker_are_finished_scenes(balls, tmp_path, bundle):
    inventory = inventory_of(balls, tmp_path / "out", bundle)
    path = write_scene(inventory, "a", worker="host:1")
    row = SceneStatus("a", "done", psnr=20.0, bytes=path.stat().st_size)
    assert finished(inventory, read_shared_bundle(str(bundle)), ["a"]) == {"a": row}


def test_scenes_of_other_settings_or_of_another_bundle_are_not_finished(balls, tmp_path, bundle):
    inventory = inventory_of(balls, tmp_path / "out", bundle)
    write_scene(inventory, "a")
    longer = inventory_of(balls, tmp_path / "out", bundle, steps=5)
    assert finished(longer, read_shared_bundle(str(bundle)), ["a"]) == {}
    other = write_bundle(tmp_path / "other", seed=1)
    assert finished(inventory, read_shared_bundle(str(other)), ["a"]) == {}


def test_settings_are_kept_and_others_refused(tmp_path):
    settings = FitSettings(bundle="abc", steps=10)
    keep_settings(tmp_path, settings)
    keep_settings(tmp_path, FitSettings(bundle="abc", steps=10))
    assert json.loads((tmp_path / "settings.json").read_text())["steps"] == 10
    expected = "settings.json: expected bundle abc, steps 10, got bundle abd, steps 11; .* another --output"
    with pytest.raises(ValueError, match=expected):
        keep_settings(tmp_path, FitSettings(bundle="abd", steps=11))
    for text in ("[1]", "{"):
        (tmp_path / "settings.json").write_text(text)
        with pytest.raises(ValueError, match="settings.json: expected JSON that lns fit-scenes wrote"):
            keep_settings(tmp_path, settings)


def test_every_setting_is_in_the_fingerprint():
    one = FitSettings(bundle="abc", steps=10)
    values = {"bundle": "abd", "steps": 11, "rgb_alignment_start": 3, "rays_per_scene": 5, "eval_interval": 3}
    values = {**values, "precision": "int8", "seed": 1}
    others = [FitSettings(**{"bundle": "abc", "steps": 10, name: value}) for name, value in values.items()]
    assert set(values) == set(one.values()) - {"format", *OF_OLD}
    assert len({settings.fingerprint() for settings in [one, *others]}) == len(values) + 1


def test_memory_of_a_scene_by_hand(balls, tmp_path, bundle):
    """RGB: 3 channels a pixel; 24 samples a ray; 7 features on three planes of 8 x 8."""
    inventory = inventory_of(balls, tmp_path, bundle, rays_per_scene=100)
    size = SceneSize(views=6, pixels=6 * 32 * 32, alignment_pixels=0)
    expected = 4 * 6144 + 2 * 3 * 6144 + 16 * 3 * 64 * 7 + 2500 * 100 * 24
    assert scene_bytes(size, read_shared_bundle(str(bundle)), inventory) == expected


def test_a_chunk_is_as_large_as_memory_allows(balls, tmp_path, bundle, monkeypatch):
    inventory, read = inventory_of(balls, tmp_path, bundle), read_shared_bundle(str(bundle))
    each = scene_bytes(SceneSize(6, 6 * 32 * 32, 0), read, inventory)
    for free, workers, expected in ((10, 1, 5), (10, 2, 2), (1, 1, 1), (1000, 1, plan.LARGEST_CHUNK)):
        monkeypatch.setattr(plan, "free_bytes", lambda free=free: free * each)
        assert plan.chunk_that_fits(inventory, read, ["a", "b", "c"], workers) == expected
