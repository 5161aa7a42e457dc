"""Scenes that stand elsewhere in the box: cameras, pictures and depths in the scene's own units."""

from dataclasses import replace

import pytest
import torch
from nerfstudio.data.scene_box import SceneBox
from tiny import SHARED, camera_of, latent_model_of, small_nerf

from latent_nerfstudio.fields.placement import Placement
from latent_nerfstudio.fields.scene_view import SceneView
from latent_nerfstudio.scene_files.model_scenes import put_scenes, scene_files_of
from latent_nerfstudio.scene_files.scene_file import read_scene_file, write_scene_file

THIRD = Placement(1 / 3, (0.5, -2.0, 0.25))
"""Of a scene three times as large as the box, and beside it."""

LOWER_HALF = Placement(THIRD.scale, THIRD.shift, ((-4.5, 3.0, -3.75), (1.5, 9.0, -0.75)))
"""THIRD, with a box of its own that is the lower half of the NeRF's."""


@pytest.fixture
def model():
    """Two scenes of the same planes, of which the second stands elsewhere."""
    model = latent_model_of(nerf=small_nerf(**SHARED))
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
    half = Placement((1 + THIRD.scale) / 2, tuple(x / 2 for x in THIRD.shift))  # a blend stands in between
    between = rendered(model, SceneView(0, other=1, share=0.5), half)["rgb"]
    torch.testing.assert_close(between, here["rgb"], atol=2e-4, rtol=0)


def test_the_viewers_crop_is_in_the_units_of_the_scene_that_it_shows(model):
    crop = torch.tensor([[-1.0, -1.0, -1.0], [0.2, 1.0, 1.0]])
    model.render_aabb = SceneBox(aabb=crop)
    here = model.renderer.render_scenes(camera_of(24, 16), [0])["accumulation"]
    model.panel.scene.value = "b"
    model.render_aabb = SceneBox(aabb=THIRD.inverse.points(crop))
    torch.testing.assert_close(rendered(model, 1)["accumulation"], here, atol=2e-4, rtol=0)


@pytest.mark.parametrize("placement", [THIRD, LOWER_HALF])
def test_checkpoints_and_scene_files_keep_the_placement(model, tmp_path, placement):
    model.place([Placement(), placement])
    other = latent_model_of(nerf=small_nerf(**SHARED))
    assert "placements" not in other.state_dict()
    other.load_state_dict(model.state_dict())
    assert list(other.placements) == [Placement(), placement]
    paths = [tmp_path / f"{name}.safetensors" for name in "ab"]
    for path, scene in zip(paths, scene_files_of(model, "0" * 64), strict=True):
        write_scene_file(path, scene)
    assert b"placement" not in paths[0].read_bytes()
    other.place([Placement()] * 2)
    put_scenes(other, map(read_scene_file, paths))
    assert list(other.placements) == [Placement(), placement]
    assert other.box_of(1).mean(dim=0).tolist() == pytest.approx([-1.5, 6.0, -0.75 if placement is THIRD else -2.25])


def test_nothing_is_seen_beyond_a_scenes_own_box_as_if_it_were_cropped(model):
    model.render_aabb = SceneBox(aabb=torch.tensor([[-1.0, -1.0, -1.0], [1.0, 1.0, 0.0]]))
    cropped = model.renderer.render_scenes(camera_of(24, 16), [0])
    model.render_aabb = None
    whole = rendered(model, 1)["accumulation"]
    model.place([Placement(), LOWER_HALF])
    own = rendered(model, 1)
    for name in ("rgb", "accumulation"):
        torch.testing.assert_close(own[name], cropped[name], atol=2e-4, rtol=0)
    assert float((whole - own["accumulation"]).abs().max()) > 0.1
    torch.testing.assert_close(own["depth"], 3 * cropped["depth"], atol=2e-3, rtol=1e-4)
    assert model.box_of(1)[1].tolist() == pytest.approx([1.5, 9.0, -0.75])


def test_where_rays_end_in_the_units_of_the_box(model):
    """All of it without an own box; of LOWER_HALF its lower half, and in RGB no margin; nothing beyond the NeRF's."""
    assert torch.equal(model.ray_boxes(), torch.tensor([[[-1.0] * 3, [1.0] * 3]] * 2))
    model.place([Placement(box=((-9.0, -0.5, -0.5), (0.5, 0.5, 9.0))), LOWER_HALF])
    expected = torch.tensor([[[-1, -0.5, -0.5], [0.5, 0.5, 1]], [[-1, -1, -1], [1, 1, 0]]])
    torch.testing.assert_close(model.ray_boxes(), expected)


def test_a_blend_begins_and_ends_as_the_scenes_are(model):
    """The same planes in two boxes: a video that blends does not jump where it leaves a scene."""
    model.place([Placement(), Placement(box=((-1.0, -1.0, -1.0), (1.0, 1.0, 0.0)))])
    first, second = (rendered(model, scene, Placement())["accumulation"] for scene in (0, 1))
    assert float((first - second).abs().max()) > 0.1
    for share, scene in ((1e-5, first), (1 - 1e-5, second)):
        view = SceneView(0, other=1, share=share)
        blend = rendered(model, view, Placement())["accumulation"]
        torch.testing.assert_close(blend, scene, atol=1e-3, rtol=0)


def test_rays_that_miss_a_scenes_own_box_are_not_drawn(model):
    model.place([Placement(), Placement(THIRD.scale, THIRD.shift, ((-2.0, 5.0, -1.5), (-1.5, 7.0, 0.0)))])
    rays = THIRD.inverse.cameras(camera_of(24, 16)).generate_rays(0).flatten()
    rays.metadata["scene_index"] = torch.ones(len(rays), 1, dtype=torch.long)
    meets = model.meets_box(rays)
    assert 0 < int(meets.sum()) < len(rays)
    seen = model.get_outputs(rays)["accumulation"][:, 0] > 0
    assert not bool((seen & ~meets).any())


def test_a_box_beside_the_bundles_is_refused_and_a_checkpoint_of_before_stands_where_it_is(model):
    scene = list(scene_files_of(model, "0" * 64))[0]
    beside = replace(scene, placement=Placement(box=((3.0, 3.0, 3.0), (4.0, 4.0, 4.0))))
    with pytest.raises(ValueError, match=r"scene 'a', box: expected .*, got .*; "):
        put_scenes(model, [beside])
    old = latent_model_of(nerf=small_nerf(**SHARED)).state_dict()
    model.load_state_dict(old)
    assert list(model.placements) == [Placement()] * 2
