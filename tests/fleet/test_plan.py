"""Which scenes are left, in which chunks, and how many fit into memory."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from inventories import inventory_of, unread_inventory, write_bundle

from latent_nerfstudio.data.layouts import read_scene
from latent_nerfstudio.data.sources import folder_stamp, source_hash
from latent_nerfstudio.fleet import plan
from latent_nerfstudio.fleet.plan import SOURCE, find_names, plan_jobs, scene_bytes, survey
from latent_nerfstudio.fleet.settings import OF_OLD, Inventory, keep_settings
from latent_nerfstudio.fleet.status import SceneStatus
from latent_nerfstudio.models import shared_bundle
from latent_nerfstudio.models.shared_bundle import read_shared_bundle
from latent_nerfstudio.scene_files.scene_file import SceneFile, write_scene_file

UNREAD = unread_inventory(Path())


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


def test_names_are_found_without_reading_a_scene(balls, tmp_path):
    assert find_names(balls) == ["a", "b", "c"]
    assert find_names(balls / "a") == ["a"]
    assert find_names(balls, ["c", "a"]) == ["a", "c"]
    for name in ("good", "broken"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "transforms.json").write_text("nothing")
    assert find_names(tmp_path) == ["broken", "good"]
    (tmp_path / "notes.txt").touch()
    with pytest.raises(FileNotFoundError, match="nowhere: expected a folder of scenes, got nothing there; check"):
        find_names(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="notes.txt: expected a folder of scenes, got a file; name its folder"):
        find_names(tmp_path / "notes.txt")
    with pytest.raises(ValueError, match="expected scenes of .*, such as .*, got 'z'"):
        find_names(balls, ["z"])


@pytest.fixture
def inventory(balls, tmp_path, bundle):
    shutil.copytree(balls, tmp_path / "data")
    return inventory_of(tmp_path / "data", tmp_path / "out", bundle)


def write_scene(inventory, name, **facts):
    """A scene of the tiny bundle's shapes."""
    facts = {"settings": inventory.fingerprint(), "psnr": 20.0, **facts}
    own = SceneFile(name, inventory.bundle_hash, torch.ones(3, 4, 8, 8), torch.ones(2), facts)
    write_scene_file(inventory.scene_path(name), own)
    return inventory.scene_path(name)


def test_finished_scenes_are_those_of_these_settings_whose_files_verify(inventory, bundle, tmp_path):
    """Those of older versions say nothing of their source."""
    read = read_shared_bundle(str(bundle))
    path, tampered = write_scene(inventory, "a", worker="host:1"), write_scene(inventory, "b")
    done, changed = survey(inventory, read, ["a", "b", "c"], {})
    stamp = folder_stamp(inventory.data / "a")
    assert done["a"] == SceneStatus("a", "done", psnr=20.0, bytes=path.stat().st_size, stamp=stamp)
    assert list(done) == ["a", "b"] and changed == []
    longer, other = (
        inventory_of(inventory.data, tmp_path / "out", bundle, steps=5),
        write_bundle(tmp_path / "o", seed=1),
    )
    assert survey(longer, read, ["a"], {}) == survey(inventory, read_shared_bundle(str(other)), ["a"], {}) == ({}, [])
    contents = bytearray(tampered.read_bytes())
    contents[-1] ^= 1
    for others in (contents, path.read_bytes()):  # damaged; another scene's
        tampered.write_bytes(others)
        assert list(survey(inventory, read, ["a", "b", "c"], {})[0]) == ["a"]


def test_pictures_of_a_linked_folder_are_read_each_time(inventory, bundle, tmp_path):
    """Nothing in the scene's own folder tells of them."""
    read, images = read_shared_bundle(str(bundle)), inventory.data / "a/images"
    images.rename(tmp_path / "photos")
    images.symlink_to(tmp_path / "photos")
    write_scene(inventory, "a", **{SOURCE: source_hash(read_scene(inventory.data / "a"))})
    known, changed = survey(inventory, read, "a", {})
    assert changed == [] and known["a"].stamp == ""
    shutil.copy(images / "0001.png", images / "0002.png")
    assert survey(inventory, read, "a", known) == ({}, ["a"])


def test_scenes_of_other_pictures_are_known_and_untouched_ones_are_not_read(inventory, bundle, monkeypatch):
    read = read_shared_bundle(str(bundle))
    for name in "ab":
        write_scene(inventory, name, **{SOURCE: source_hash(read_scene(inventory.data / name))})
    known, changed = survey(inventory, read, "ab", {})
    assert (list(known), changed) == (["a", "b"], [])
    shutil.copy(inventory.data / "b" / "images" / "0001.png", inventory.data / "b" / "images" / "0002.png")
    hashed = []
    monkeypatch.setattr(plan, "source_hash", lambda frames: hashed.append(frames.name) or source_hash(frames))
    done, changed = survey(inventory, read, "ab", known)
    assert (list(done), changed, hashed) == (["a"], ["b"], ["b"])
    shutil.rmtree(inventory.data / "b" / "images")
    assert list(survey(inventory, read, "ab", known)[0]) == ["a", "b"]


def asked_for(**values):
    """A request against a bundle of which nothing is read."""
    own = {"steps": 10, "bundle_hash": "abc", **values}
    return Inventory(Path(), Path(), method=None, **own)  # type: ignore[arg-type]


def test_settings_are_kept_and_others_refused(tmp_path):
    for _ in range(2):
        keep_settings(tmp_path, asked_for().settings())
    assert json.loads((tmp_path / "settings.json").read_text())["steps"] == 10
    expected = "settings.json: expected bundle abc, steps 10, got bundle abd, steps 11; .* another --output"
    with pytest.raises(ValueError, match=expected):
        keep_settings(tmp_path, asked_for(bundle_hash="abd", steps=11).settings())
    keep_settings(tmp_path / "learned", {"format": "learn-bundle-v1", "train": ["a"]})
    with pytest.raises(ValueError, match=r"expected the format fit-scenes-v1 .*, got 'learn-bundle-v1'; name another"):
        keep_settings(tmp_path / "learned", asked_for().settings())


def test_every_setting_is_in_the_fingerprint():
    values = {"bundle_hash": "abd", "steps": 11, "rgb_alignment_start": 3, "rays_per_scene": 5, "eval_interval": 3}
    values = {**values, "precision": "int8", "seed": 1, "enlarge": 2}
    others = [asked_for(**{name: value}).fingerprint() for name, value in values.items()]
    version_0_1 = {"format": "fit-scenes-v1", "bundle": "abc", "steps": 10, "rgb_alignment_start": None, **OF_OLD}
    version_0_1 |= {"rays_per_scene": 256, "eval_interval": 10, "precision": "float16", "seed": 0}
    assert asked_for().settings() == version_0_1
    assert asked_for(eval_interval=10).fingerprint() != asked_for().fingerprint()
    assert len({asked_for().fingerprint(), *others}) == len(values) + 1
    assert asked_for(workers=2, device="cpu", chunk=3, bundle="x").fingerprint() == asked_for().fingerprint()


def test_photos_are_enlarged_twice_unless_there_is_a_fit_without_or_somebody_asks(balls, kl, tmp_path, monkeypatch):
    """What version 0.1 has begun goes on as it was; an autoencoder that makes nothing smaller enlarges nothing."""
    bundle = write_bundle(tmp_path / "bundle", kl)

    def enlarged(output="out", bundle=bundle, **settings):
        return inventory_of(balls, tmp_path / output, bundle, **settings).enlarge

    assert (enlarged(), enlarged(enlarge=4), enlarged(enlarge=1)) == (2, 4, 1)
    monkeypatch.setattr(shared_bundle, "MOST_ENLARGED", 31)  # the photos' sides are 32
    assert (enlarged(), enlarged(enlarge=2)) == (1, 2)
    monkeypatch.undo()
    keep_settings(tmp_path / "out", inventory_of(balls, tmp_path / "out", bundle, enlarge=1).settings())
    assert "enlarge" not in json.loads((tmp_path / "out/settings.json").read_text())
    assert enlarged() == 1
    with pytest.raises(ValueError, match="expected enlarge None, got enlarge 2; it was begun so"):
        keep_settings(tmp_path / "out", inventory_of(balls, tmp_path / "out", bundle, enlarge=2).settings())
    keep_settings(tmp_path / "four", inventory_of(balls, tmp_path / "four", bundle, enlarge=4).settings())
    assert enlarged("four") == 4
    (tmp_path / "four/settings.json").write_text('{"enlarge": 4.0}')
    assert type(enlarged("four")) is int
    assert enlarged(bundle=write_bundle(tmp_path / "rgb")) == 1
    with pytest.raises(ValueError, match="enlarge: expected a divisor .* 4, got 3; give another --enlarge"):
        enlarged(enlarge=3)


@pytest.mark.parametrize(("source", "latents", "rays"), [("identity", 3 * 6144, 1024), ("kl", 4 * 384, 100)])
def test_memory_of_a_scene_by_hand(source, latents, rays, balls, kl, tmp_path):
    """Numbers of its latents (factor 1 and 4), and latent pixels of a picture of 32 x 32, or the 100 rays of a step; 24
    samples a ray; 7 features on three planes of 8 x 8."""
    bundle = write_bundle(tmp_path / "bundle", kl if source == "kl" else source)
    inventory = inventory_of(balls, tmp_path, bundle, rays_per_scene=100, enlarge=1)
    read = read_shared_bundle(str(bundle))
    expected = 4 * 6144 + 2 * latents + 16 * 3 * 64 * 7 + 2500 * 24 * 100
    assert scene_bytes(6 * 32 * 32, 0, read, inventory) == expected
    expected += 2500 * 24 * (rays - 100) + 1024 * 4 * 64 * 4
    assert scene_bytes(6 * 32 * 32, 32 * 32, read, inventory) == expected


def test_a_chunk_is_as_large_as_memory_allows(balls, tmp_path, bundle):
    inventory, read = inventory_of(balls, tmp_path, bundle), read_shared_bundle(str(bundle))
    each = scene_bytes(6 * 32 * 32, 0, read, inventory)
    for free, expected in ((10, 5), (1, 1), (1000, plan.LARGEST_CHUNK)):
        assert plan.chunk_that_fits(inventory, read, ["a", "b", "c"], float(free * each)) == expected
