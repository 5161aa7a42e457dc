"""Scenes that stand elsewhere in the box: cameras, pictures and depths in the scene's own units."""

import pytest
import torch
from nerfstudio.data.scene_box import SceneBox
from tiny import camera_of, latent_model_of, small_nerf

from latent_nerfstudio.fields.placement import Placement
from latent_nerfstudio.fields.scene_view import SceneView
from latent_nerfstudio.scene_files.model_scenes import put_scenes, scene_files_of
from latent_nerfstudio.scene_files.scene_file import read_scene_file, write_scene_file

THIRD = Placement(1 / 3, (0.5, -2.0, 0.25))
"""Of a scene three times as large as the box, and beside it."""


@pytest.fixture
def model():
    """Two scenes of the same planes, of which the second stands elsewhere."""
    model = latent_model_of(nerf=small_nerf(macro_features=3, num_base_planes=2))
    field = model.nerf.field
    with torch.no_grad():
        for table in (field.micro_planes, field.scene_weights):
            table.normal_(generator=torch.Generator().manual_seed(0))
            table[1] = table[0]
    model.place([Placement(), THIRD])
    return model


def rendered(model, scene, placement=THIRD, **options):
    return model.renderer.render_scenes(placement.inverse.cameras(camera_of(24, 16)), [scene], **options)


def test_cameras_in_the_scenes_own_units_see_the_same_picture_and_depths_of_that_unit(model):
    there, here = rendered(model, 1), model.renderer.render_scenes(camera_of(24, 16), [0])
    assert float(here["accumulation"].max()) > 0.3
    for name in ("rgb", "accumulation", "latent"):
        torch.testing.assert_close(there[name], here[name], atol=2e-4, rtol=0)
    torch.testing.assert_close(there["depth"], 3 * here["depth"], atol=1e-3, rtol=1e-4)


def test_the_viewers_crop_is_in_the_units_of_the_scene_that_it_shows(model):
    crop = torch.tensor([[-1.0, -1.0, -1.0], [0.2, 1.0, 1.0]])
    model.render_aabb = SceneBox(aabb=crop)
    here = model.renderer.render_scenes(camera_of(24, 16), [0])["accumulation"]
    model.panel.scene.value = "b"
    model.render_aabb = SceneBox(aabb=THIRD.inverse.points(crop))
    torch.testing.assert_close(rendered(model, 1)["accumulation"], here, atol=2e-4, rtol=0)


def test_a_blend_stands_in_between(model):
    half = Placement((1 + THIRD.scale) / 2, tuple(x / 2 for x in THIRD.shift))
    between = rendered(model, SceneView(0, other=1, share=0.5), half)["rgb"]
    torch.testing.assert_close(between, model.renderer.render_scenes(camera_of(24, 16), [0])["rgb"], atol=2e-4, rtol=0)


def test_checkpoints_and_scene_files_keep_the_placement(model, tmp_path):
    other = latent_model_of(nerf=small_nerf(macro_features=3, num_base_planes=2))
    assert "placements" not in other.state_dict()
    other.load_state_dict(model.state_dict())
    assert other.placements == [Placement(), THIRD]
    paths = [tmp_path / f"{name}.safetensors" for name in "ab"]
    for path, scene in zip(paths, scene_files_of(model, "0" * 64), strict=True):
        write_scene_file(path, scene)
    assert b"placement" not in paths[0].read_bytes()
    other.place([Placement()] * 2)
    put_scenes(other, map(read_scene_file, paths))
    assert other.placements == [Placement(), THIRD]
    assert other.box_of(1).mean(dim=0).tolist() == pytest.approx([-1.5, 6.0, -0.75])


def test_a_checkpoint_of_before_stands_where_it_is(model):
    old = latent_model_of(nerf=small_nerf(macro_features=3, num_base_planes=2)).state_dict()
    model.load_state_dict(old)
    assert model.placements == [Placement()] * 2
