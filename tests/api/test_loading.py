"""Scenes and bundles from files, folders and archives, and the lazy door to them."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tiny import camera_of, latent_model_of, small_nerf

import latent_nerfstudio as lns
from latent_nerfstudio.api.loading import check_scenes
from latent_nerfstudio.cli.latents import codec_of
from latent_nerfstudio.models.bundle_writing import write_shared_bundle
from latent_nerfstudio.models.latent_model import LatentModel
from latent_nerfstudio.models.shared_bundle import read_shared_bundle
from latent_nerfstudio.scene_files.archive import write_archive
from latent_nerfstudio.scene_files.model_scenes import scene_files_of
from latent_nerfstudio.scene_files.scene_file import SceneFile, write_scene_file

SAMPLES = {"samples": [12, 0]}
FACTS = {"cameras": {"height": 24, "width": 32, "fx": 40.0, "fy": 41.0, "radius": 3.0}, **SAMPLES}


@pytest.fixture(scope="module")
def model(kl) -> LatentModel:
    """Scenes a and b with random planes."""
    return latent_model_of(kl, nerf=small_nerf(macro_features=3, num_base_planes=2))


@pytest.fixture(scope="module")
def whole(model, tmp_path_factory) -> Path:
    """A folder as `lns export-scenes` leaves it: two scene files and their bundle."""
    folder = tmp_path_factory.mktemp("whole")
    bundle = read_shared_bundle(str(write_shared_bundle(folder, model, 3, {"method": "tiny"})))
    for scene in scene_files_of(model, bundle.hash, {"a": FACTS, "b": SAMPLES}):
        write_scene_file(folder / f"{scene.name}.safetensors", scene, "float32")
    return folder


@pytest.fixture
def written(whole, tmp_path) -> Path:
    """A copy of it."""
    return shutil.copytree(whole, tmp_path / "files")


def test_a_folder_of_files_is_none_of_a_run_whatever_else_is_in_it(written, kl, tmp_path):
    """As a stranger's config.yml: it is not even read."""
    (written / "config.yml").write_text(f"!!python/object/apply:os.mkdir [{tmp_path / 'made'}]")
    assert lns.load(written).names == ["a", "b"]
    vae = shutil.copytree(kl, tmp_path / "vae")
    shutil.copy(written / "config.yml", vae)
    assert codec_of(str(vae)).num_channels == 4 and codec_of(str(written)).num_channels == 4
    assert not (tmp_path / "made").exists()


def test_scenes_without_planes_are_not_given_any_memory(tmp_path):
    """Two hundred files of some hundred bytes each stand for two gigabytes."""
    nerf = small_nerf(micro_features=256, macro_features=1, num_base_planes=1, resolution=64)
    model = latent_model_of("identity", nerf=nerf)
    bundle = read_shared_bundle(str(write_shared_bundle(tmp_path, model, 3, {})))
    for number in range(200):
        scene = SceneFile(f"{number}", bundle.hash, None, torch.zeros(1), {})
        write_scene_file(tmp_path / f"{number}.safetensors", scene)
    with pytest.raises(ValueError, match="bytes at most, got 1,082,130,432 bytes for 86 scenes"):
        lns.load(tmp_path)


def check_same(scenes: lns.Scenes, model: LatentModel) -> None:
    """Whether scenes look as the model renders them."""
    for index, name in enumerate(model.scene_names):
        if name in scenes:
            outputs = model.get_outputs_for_camera(camera_of(24, 24, scene=index))
            torch.testing.assert_close(scenes.render(name, camera_of(24, 24)).rgb[0], outputs["rgb"])


def test_a_folder_with_its_bundle_one_file_and_an_archive(written, model, tmp_path):
    scenes = lns.load(written)
    assert scenes.names == ["a", "b"] and scenes.bundle is not None and scenes.facts["a"] == FACTS
    check_same(scenes, model)
    ring = scenes.ring("a")
    assert (ring.radius, ring.height, ring.width, ring.focal) == (3.0, 24, 32, (40.0, 41.0))
    assert scenes.ring("b").radius == pytest.approx(1.3 * 2)
    check_same(lns.load(written / "b.safetensors"), model)
    hash_of = read_shared_bundle(str(written)).hash
    written_scenes = scene_files_of(model, hash_of, dict.fromkeys("ab", SAMPLES))
    write_archive(tmp_path / "set.zip", written_scenes, "float32")
    scenes = lns.load(tmp_path / "set.zip", bundle=written)
    assert scenes.names == ["a", "b"]
    check_same(scenes, model)


def test_a_bundle_opens_its_scenes_and_encodes(written, model):
    bundle = lns.load_bundle(written)
    assert bundle.hash == read_shared_bundle(str(written)).hash and bundle.facts == {"method": "tiny"}
    assert bundle.base_planes.shape == (2, 3, 3, 8, 8) and bundle.box.tolist() == [[-1.0] * 3, [1.0] * 3]
    check_same(bundle.scenes(written / "a.safetensors"), model)
    pictures = torch.rand(2, 16, 16, 3)
    raw = model.latent_space.autoencoder.encode(pictures).permute(0, 3, 1, 2)
    torch.testing.assert_close(bundle.encode(pictures), raw)
    assert bundle.decode(raw).shape == (2, 16, 16, 3)


def test_a_folder_without_scenes_names_a_run_in_it(tmp_path):
    (tmp_path / "experiment" / "run").mkdir(parents=True)
    (tmp_path / "experiment" / "run" / "config.yml").write_text("")
    with pytest.raises(FileNotFoundError, match=r"expected a run \(config\.yml\), scene files .* name .*run"):
        lns.load(tmp_path)


@pytest.mark.parametrize(
    ("name", "source", "words"),
    [
        ("load", "bundled", "a shared bundle; lns.load_bundle opens it"),
        ("load", "bundled-standard", "an autoencoder; lns.load_autoencoder opens it"),
        ("load", "files/shared_bundle", "a shared bundle; lns.load_bundle"),
        ("load", "files/shared_bundle/autoencoder", "an autoencoder; lns.load_autoencoder"),
        ("load", "photos", "pictures; lns process-photos"),
        ("load", "posed", "photos with cameras; fit scenes first"),
        ("load", "posed/transforms.json", "photos with cameras; fit scenes first"),
        ("load", "empty", "an empty folder; check the path"),
        ("load", "photos/a.png", "pictures; lns process-photos"),
        ("load_bundle", "alone/a.safetensors", "'.*', scene files; lns.load opens"),
        ("load_bundle", "run", "'.*', a run; lns.load opens it; it has a bundle if"),
        ("load_bundle", "bundled-car", "'bundled-car', nothing there; did you mean bundled-cars?"),
        ("load_autoencoder", "bundled_standard", "'bundled_standard', nothing there; did you mean bundled-standard?"),
        ("load_autoencoder", "Identity", "'Identity', nothing there; did you mean identity?"),
        ("load_autoencoder", "alone/a.safetensors", "'.*', scene files; lns.load opens"),
        ("load_autoencoder", "mumble", "'mumble', nothing there; check the path"),
    ],
)
def test_what_is_something_else_is_told_what_opens_it(written, tmp_path, monkeypatch, name, source, words):
    monkeypatch.chdir(tmp_path)
    for place in ("photos/a.png", "posed/transforms.json", "run/config.yml", "run/nerfstudio_models/x.ckpt"):
        Path(place).parent.mkdir(parents=True, exist_ok=True)
        Path(place).touch()
    Path("alone").mkdir()
    Path("empty").mkdir()
    shutil.copyfile(written / "a.safetensors", "alone/a.safetensors")
    with pytest.raises(FileNotFoundError, match=f": expected .*, got {words}"):
        getattr(lns, name)(source)


def test_wanted_scenes_and_those_without_their_bundle(written, tmp_path):
    scenes = lns.load(written)
    assert check_scenes(scenes, ()) == check_scenes(scenes, ("all",)) == ["a", "b"]
    assert check_scenes(scenes, ("b", "a", "b")) == ["b", "a"]
    with pytest.raises(ValueError, match="such as b, got 'bb'"):
        check_scenes(scenes, ("a", "bb"))
    alone = tmp_path / "alone" / "deep"
    alone.mkdir(parents=True)
    shutil.copyfile(written / "a.safetensors", alone / "a.safetensors")
    with pytest.raises(ValueError, match="expected the shared bundle .* of scene 'a' beside it, got none with that"):
        lns.load(alone)
    assert lns.load(alone, bundle=written).names == ["a"]
    with pytest.raises(ValueError, match="bundle"):
        lns.load(alone, bundle="bundled")


def test_the_package_is_imported_without_torch():
    program = "import latent_nerfstudio as lns, sys; lns.__version__; assert not {'torch', 'rich'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)
    assert {"load", "orbit", "__version__"} <= set(dir(lns)) and lns.__all__ == lns.api.__all__
    assert all(hasattr(lns, name) for name in lns.__all__)
    with pytest.raises(AttributeError, match="no attribute 'lode'"):
        lns.lode  # noqa: B018
