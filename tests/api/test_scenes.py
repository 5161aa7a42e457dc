"""Scenes that are rendered, read and blended, against the model itself."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from small_nerfs import small_vanilla
from tiny import camera_of, latent_model_of, small_nerf

from latent_nerfstudio.api.cameras import Ring, orbit
from latent_nerfstudio.api.latent_files import read_latents
from latent_nerfstudio.api.scenes import Pictures, Scenes, check_renderable
from latent_nerfstudio.fields.planes import compose_planes
from latent_nerfstudio.scene_files.archive import read_archive
from latent_nerfstudio.scene_files.scene_file import read_scene_file

FIELD = {"micro_features": 4, "macro_features": 3, "num_base_planes": 2}


@pytest.fixture
def scenes(kl):
    """Two scenes with random planes."""
    return Scenes(latent_model_of(kl, nerf=small_nerf(**FIELD)), "here")


def test_names_places_and_what_is_saved(scenes, tmp_path):
    assert scenes.names == ["a", "b"] == list(scenes) and len(scenes) == 2 and "a" in scenes and "c" not in scenes
    assert repr(scenes) == "Scenes(2 of here: a, b)"
    with pytest.raises(ValueError, match="scenes: expected scenes of here, such as a, b, got 'c'"):
        scenes.index("c")
    with pytest.raises(ValueError, match="here: expected scenes of a shared bundle, got .*; call lns export-scenes"):
        scenes.save(tmp_path / "out")
    scenes.bundle = SimpleNamespace(hash="0" * 64)
    scenes.facts = {"b": {"psnr": 30.0}}
    read = read_scene_file(scenes.save(tmp_path / "out", ["b"], "float32") / "b.safetensors")
    assert [path.name for path in (tmp_path / "out").glob("*.safetensors")] == ["b.safetensors"]
    assert read.facts == {"psnr": 30.0} and torch.equal(read.scene_weights, scenes.weights("b"))
    assert [scene.name for scene in read_archive(scenes.save(tmp_path / "all.zip"))] == ["a", "b"]


@pytest.mark.parametrize(("source", "title"), [("fitted/scenes", "scenes"), ("owner/cars", "cars"), (".", ".")])
def test_scenes_are_called_by_their_source_where_they_have_no_title(scenes, source, title):
    assert Scenes(scenes.model, source).title == title and Scenes(scenes.model, source, title="mugs").title == "mugs"


def test_pictures_are_the_models_own(scenes):
    """Of many cameras, and of each in a scene of its own."""
    cameras = camera_of(32, 24, count=10)  # more than are rendered together
    pictures = scenes.render("b", cameras)
    assert len(pictures) == 10 and pictures.raw_latent.shape == (10, 4, 6, 8)
    own = camera_of(32, 24, count=10, scene=1)
    for index in (0, 9):
        outputs = scenes.model.get_outputs_for_camera(own[index : index + 1], with_latents=True)
        for name in ("rgb", "latent", "depth", "accumulation"):
            torch.testing.assert_close(vars(pictures)[name][index], outputs[name])
        raw = scenes.model.latent_space.normalizer.inverse(outputs["latent_channels"])
        torch.testing.assert_close(pictures.raw_latent[index], raw.permute(2, 0, 1))
    cameras = camera_of(16, 16, count=3)
    together = scenes.render_each(["a", "b", "a"], cameras)
    for index, name in enumerate("aba"):
        torch.testing.assert_close(together[index].rgb, scenes.render(name, cameras[index : index + 1]).rgb)
    with pytest.raises(ValueError, match="expected one for each of 3 cameras, got 1"):
        scenes.render_each(["a"], cameras)


def test_planes_weights_and_what_becomes_of_them_in_a_blend(scenes):
    field = scenes.model.nerf.field
    composed = compose_planes(field.micro_planes, field.base_planes, field.scene_weights)
    torch.testing.assert_close(scenes.planes("b"), composed[1].detach())
    torch.testing.assert_close(scenes.weights("b"), field.scene_weights[1].detach())
    between = (0.75 * composed[0] + 0.25 * composed[1]).detach()
    torch.testing.assert_close(scenes.planes(scenes.blend("a", "b", 0.25)), between)
    micro = scenes.planes(scenes.part("a", "micro"))
    torch.testing.assert_close(micro[:, :4], composed[0, :, :4].detach())
    assert not bool(micro[:, 4:].any())


def test_what_scenes_without_base_planes_or_any_planes_say():
    plain = Scenes(latent_model_of(), "here")
    assert plain.weights("a").shape == (0,) and plain.planes("a").shape == (3, 4, 8, 8)
    with pytest.raises(ValueError, match="parts: expected one of all, got 'macro'"):
        plain.part("a")
    vanilla = Scenes(latent_model_of(names=("a",), nerf=small_vanilla()), "here")
    assert vanilla.render("a", camera_of(8, 8)).rgb.shape == (1, 8, 8, 3)
    for call in (vanilla.planes, vanilla.weights, vanilla.mesh, lambda name: vanilla.blend(name, name)):
        with pytest.raises(ValueError, match="expected tri-planes within the latent model, got a LatentVanilla"):
            call("a")


def test_walks_suit_what_is_known(scenes):
    near = Ring(radius=9.0, height=20, width=30, focal=(33.0, 33.0))
    training = near.cameras(12)
    training.metadata = {"scene_index": torch.tensor([[0], [1]] * 6)}
    known = Scenes(scenes.model, "here", training=training)
    assert len(known.cameras("b")) == 6 and known.cameras("b").metadata is None
    assert torch.equal(known.cameras("b").camera_to_worlds, training.camera_to_worlds[1::2])
    assert known.ring("b").radius == pytest.approx(9.0) and known.ring("b").focal == (33.0, 33.0)
    walk = known.orbit("b", views=5, size=10)
    assert len(walk) == 5 and (int(walk.height[0]), int(walk.width[0])) == (10, 15)
    given = Scenes(scenes.model, "here", rings={"a": Ring(radius=4.0)})
    assert given.ring("a").radius == 4.0 and given.ring("b").radius == pytest.approx(1.3 * 2)
    with pytest.raises(ValueError, match="here: expected scenes with their training cameras, got none"):
        scenes.cameras("a")
    gone = Scenes(scenes.model, "here", training=FileNotFoundError("data: expected them"))
    with pytest.raises(FileNotFoundError, match="data: expected them"):
        gone.cameras("a")
    assert gone.ring("a") == scenes.ring("a")


def test_cameras_that_cannot_be_rendered_together(scenes):
    cameras = orbit(2, size=8)
    cameras.height = torch.tensor([[8], [9]])
    with pytest.raises(ValueError, match="cameras: expected cameras of one size, got several sizes"):
        scenes.render("a", cameras)
    with pytest.raises(ValueError, match="cameras: expected at least one, got none"):
        scenes.render("a", cameras[:0])
    with pytest.raises(ValueError, match="cameras: expected one Cameras of Nerfstudio for all, got a str; give"):
        check_renderable("orbit")
    cameras = orbit(2, size=8)
    cameras.camera_to_worlds[1, :, :3] *= 2
    with pytest.raises(ValueError, match="cameras, pose of 'camera 1': expected a rotation, got"):
        scenes.render("a", cameras)


def test_latents_are_those_of_renders_and_nothing_is_decoded_for_them(scenes, monkeypatch):
    cameras, blend = camera_of(16, 24, count=9), scenes.blend("a", "b", 0.25)
    whole = [scenes.render(scene, cameras).raw_latent for scene in ("b", blend)]
    monkeypatch.setattr(scenes.model.renderer, "decode", None)
    for scene, expected in zip(("b", blend), whole, strict=True):
        torch.testing.assert_close(scenes.latents(scene, cameras), expected)
    with pytest.raises(ValueError, match="expected scenes of here, such as a, b, got 'c'"):
        scenes.latents("c", cameras)


def test_pictures_as_a_row_and_on_disk(tmp_path: Path):
    n = 3
    pictures = Pictures(*(torch.rand(n, 4, 6, c) for c in (3, 3, 1, 1)), raw_latent=torch.rand(n, 4, 1, 2))
    assert [len(picture) for picture in pictures] == [1, 1, 1] and len(pictures[1:]) == 2
    assert torch.equal(pictures[-1].rgb[0], pictures.rgb[2])
    assert torch.equal(pictures[np.int64(2)].rgb, pictures[2].rgb)
    for index in (3, 7, -4):
        with pytest.raises(IndexError, match=f"expected an index below 3, got {index}"):
            pictures[index]
    (tmp_path / "out").mkdir()
    (tmp_path / "kept").write_text("kept")
    for name in ("0000.png", "depth.npy", "latents.safetensors"):
        (tmp_path / "out" / name).symlink_to(tmp_path / "kept")
    paths = pictures.save(tmp_path / "out")
    assert (tmp_path / "kept").read_text() == "kept"
    with pytest.raises(FileExistsError, match="kept: expected a folder, or nothing there, got a file; name another"):
        pictures.save(tmp_path / "kept")
    assert [path.name for path in paths[:3]] == ["0000.png", "0001.png", "0002.png"]
    assert [path.name for path in paths[3:]] == ["depth.npy", "accumulation.npy", "latents.safetensors"]
    np.testing.assert_array_equal(np.load(paths[3]), pictures.depth[..., 0])
    assert torch.equal(read_latents(paths[5]).latents, pictures.raw_latent)
    np.testing.assert_allclose(np.asarray(Image.open(paths[1])) / 255, pictures.rgb[1].numpy(), atol=0.5 / 255 + 1e-6)
