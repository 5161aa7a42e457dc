"""Scenes of a few photos from Python: the same as a run against the bundle starts with, and what is refused."""

import warnings
from inspect import unwrap

import pytest
import torch
from nerfstudio.cameras.cameras import Cameras, CameraType
from PIL import Image
from tiny import camera_of, poses_around, write_bundle_with_encoder

import latent_nerfstudio as lns
from latent_nerfstudio.api.cameras import view_directions
from latent_nerfstudio.api.prediction import predict


def cameras_of(count, width=9, height=8, scale=1.0, shift=0.0):
    cameras = camera_of(width, height, focal=9.0, count=count)
    cameras.camera_to_worlds[..., 3] = cameras.camera_to_worlds[..., 3] * scale + shift
    return cameras


def rows(scenes):
    return scenes.model.nerf.field.micro_planes[0], scenes.model.nerf.field.scene_weights[0]


def assert_same(first, second):
    for a, b in zip(rows(first), rows(second), strict=True):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)


def test_photos_of_any_order_make_one_scene(bundle):
    """Of many the same are taken, too."""
    many, around, order = torch.rand(24, 8, 9, 3), cameras_of(24), torch.randperm(24)
    assert_same(bundle.predict(many, around), bundle.predict(many[order], around[order]))
    photos, cameras = (torch.rand(3, 8, 9, 3) * 255).byte(), cameras_of(3)
    scenes = bundle.predict(photos, cameras, name="mug")
    assert scenes.names == ["mug"] and scenes.bundle.hash == bundle.hash
    order = torch.tensor([2, 0, 1])
    assert_same(scenes, bundle.predict(photos[order].float() / 255, cameras[order]))
    assert_same(scenes, bundle.predict(list(photos), cameras, masks=[torch.ones(8, 9, dtype=torch.bool)] * 3))
    assert scenes.render("mug", cameras[:1]).rgb.shape == (1, 8, 9, 3)


def test_photos_that_are_given_twice_count_twice_and_are_told(bundle):
    photos, cameras, twice = torch.rand(2, 8, 9, 3), cameras_of(2), torch.tensor([0, 1, 0])
    with pytest.warns(UserWarning, match="photos: 1 of 3 are there before, with the same camera"):
        bundle.predict(photos[twice], cameras[twice])
    other = photos[twice] * torch.tensor([1.0, 1.0, 0.5])[:, None, None, None]
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        bundle.predict(other, cameras[twice])


def test_transparency_is_put_on_the_bundles_background_in_whatever_form_photos_come(tmp_path):
    """As files are where scenes are fitted."""
    write_bundle_with_encoder(tmp_path, background=(0.0, 1.0, 0.0))
    green = lns.load_bundle(tmp_path / "run", "cpu")
    photos, cameras = (torch.rand(2, 8, 9, 4) * 255).byte(), cameras_of(2)
    assert tuple(green.shared.background_color) == (0.0, 1.0, 0.0)
    color, alpha = photos[..., :3] / 255, photos[..., 3:] / 255
    expected = green.predict(color * alpha + torch.tensor([0.0, 1.0, 0.0]) * (1 - alpha), cameras)
    pictures = [Image.fromarray(photo.numpy(), "RGBA") for photo in photos]
    pictures[0].save(tmp_path / "x.png")
    for given in (photos, photos / 255, photos.numpy(), pictures, [tmp_path / "x.png", photos[1]]):
        assert_same(expected, green.predict(given, cameras))


def test_masks_are_cut_at_half_of_their_largest_value_as_those_of_files(bundle, tmp_path):
    photos, cameras = torch.rand(2, 8, 9, 3), cameras_of(2)
    kept = torch.rand(8, 9) > 0.5
    soft = (kept * 200 + (~kept) * 90).to(torch.uint8)
    Image.fromarray(soft.numpy()).save(tmp_path / "mask.png")
    expected = bundle.predict(photos, cameras, masks=[kept] * 2)
    for mask in (soft, soft.numpy() / 255, Image.fromarray(soft.numpy()), tmp_path / "mask.png"):
        assert_same(expected, bundle.predict(photos, cameras, masks=[mask] * 2))


def test_photos_of_several_sizes(bundle):
    small, large = cameras_of(2), camera_of(12, 10, focal=12.0)
    joined = Cameras(
        torch.cat([small.camera_to_worlds, torch.tensor(poses_around(1, 2.0, 5)[:, :3], dtype=torch.float32)]),
        *(torch.cat([getattr(small, n), getattr(large, n)]) for n in ("fx", "fy", "cx", "cy", "width", "height")),
    )
    photos = [torch.rand(8, 9, 3), torch.rand(8, 9, 3), torch.rand(10, 12, 3)]
    scenes = bundle.predict(photos, joined)
    back = torch.tensor([2, 1, 0])
    assert_same(scenes, bundle.predict(photos[::-1], joined[back]))


def test_a_scene_in_its_own_units_is_placed_in_the_bundles_box(bundle):
    photos, low, high = torch.rand(2, 8, 9, 3), *bundle.box
    scenes = bundle.predict(photos, cameras_of(2))
    placed = bundle.predict(
        photos, cameras_of(2, scale=4.0, shift=10.0), box=torch.stack([4 * low + 10, 4 * high + 10])
    )
    assert_same(scenes, placed)
    pictures = scenes.render("scene", cameras_of(1)), placed.render("scene", cameras_of(1, scale=4.0, shift=10.0))
    torch.testing.assert_close(pictures[0].rgb, pictures[1].rgb, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(4 * pictures[0].depth, pictures[1].depth, atol=1e-2, rtol=1e-3)


def spoilt(cameras, name, value=torch.nan):
    getattr(cameras, name)[0] = value
    return cameras


@pytest.mark.parametrize(
    "photos, change, words",
    [
        (0, lambda c: c[:0], "photos: expected at least one, got none"),
        (2, lambda c: c[:1], "cameras: expected one for each of 2 photos, got 1"),
        (2, lambda c: cameras_of(2, width=7), "photo 0: expected 1 perspective .* 8 x 9 pixels, got 1 .* of 8 x 7;"),
        (2, lambda c: spoilt(c, "camera_type", CameraType.FISHEYE.value), "expected 1 perspective .* got 1 FISHEYE of"),
        (3, lambda c: c[torch.tensor([0, 0, 0])], "poses: expected one of its own for each photo, got 3"),
        (2, lambda c: spoilt(c, "camera_to_worlds"), "cameras, pose of 'photo 0': expected finite numbers"),
        (2, lambda c: spoilt(c, "fx"), "cameras, fx: expected a positive number of pixels, got nan for 'photo 0'"),
        (2, lambda c: spoilt(c, "fy", -9.0), "cameras, fy: expected a positive number of pixels, got -9 for"),
        (2, lambda c: spoilt(c, "cx"), "cameras, cx and cy of 'photo 0': expected finite numbers, got NaN or"),
        (2, lambda c: spoilt(c, "camera_to_worlds", 2.0), "cameras, pose of 'photo 0': expected a rotation"),
    ],
)
def test_what_nothing_can_be_predicted_from(bundle, photos, change, words):
    with pytest.raises(ValueError, match=words):
        bundle.predict(list(torch.rand(photos, 8, 9, 3)), change(cameras_of(max(photos, 1))))


@pytest.mark.parametrize(("cameras", "got"), [(None, "none"), ([1, 2], "a list"), ("orbit", "a str")])
def test_what_are_no_cameras_is_told_wherever_cameras_are_taken(bundle, tmp_path, monkeypatch, cameras, got):
    """The types of arguments are checked in tests alone, so that the functions are called without."""
    photos = torch.rand(2, 8, 9, 3)
    scenes = bundle.predict(photos, cameras_of(2))
    monkeypatch.setattr("latent_nerfstudio.api.loading.predict", unwrap(predict))
    for call in (
        lambda: unwrap(lns.Bundle.predict)(bundle, photos, cameras),
        lambda: unwrap(lns.save_scene)(tmp_path / "scene", photos, cameras),
        lambda: unwrap(lns.Scenes.render)(scenes, "scene", cameras),
        lambda: unwrap(lns.Scenes.rendered_size)(scenes, cameras),
        lambda: unwrap(view_directions)(cameras),
    ):
        with pytest.raises(ValueError, match=f"cameras: expected one Cameras of Nerfstudio .*, got {got}; give those"):
            call()


def test_one_photo_or_mask_that_is_none_spoils_no_scene(bundle):
    photos, cameras = torch.rand(2, 8, 9, 3), cameras_of(2)
    photos[1, 0, 0, 0] = torch.nan
    kind = r"\[8, 9, 3\] in float32 from"
    with pytest.raises(ValueError, match=f"photo 1: expected finite numbers.*, got {kind} nan to nan; "):
        bundle.predict(photos, cameras)
    with pytest.raises(ValueError, match=rf"photo 0: expected .*: uint8, or in \[0, 1\], got {kind} 0 to 255; "):
        bundle.predict(torch.linspace(0, 255, 216).view(8, 9, 3).expand(2, -1, -1, -1), cameras)
    with pytest.raises(ValueError, match=r"photo 1: expected \[height, width, 3\], .*, got \[8, 9\] in uint8; put"):
        bundle.predict([torch.rand(8, 9, 3), torch.zeros(8, 9, dtype=torch.uint8)], cameras)
    for masks, words in (
        ([torch.ones(8, 9)], "masks: expected a list, one for each of 2 photos, got 1; "),
        ([torch.ones(8, 9), torch.ones(9, 8)], r"mask of photo 1: expected \[8, 9\], as the photo, got \[9, 8\]; "),
    ):
        with pytest.raises(ValueError, match=words):
            bundle.predict(torch.rand(2, 8, 9, 3), cameras, masks=masks)


def test_photos_are_enlarged_as_they_are_where_scenes_are_fitted(bundle, tmp_path, kl):
    """Twice by default, which the scene and its file say; where the autoencoder makes nothing smaller, not at all."""
    assert bundle.predict(torch.rand(2, 8, 9, 3), cameras_of(2)).facts == {}
    write_bundle_with_encoder(tmp_path, kl)
    small = lns.load_bundle(tmp_path / "run", "cpu")
    scenes = small.predict(torch.rand(2, 8, 9, 3), cameras_of(2), name="mug")
    assert scenes.model.latent_space.downscale_factor == 2
    scenes.save(tmp_path / "scenes")
    loaded = lns.load(tmp_path / "scenes", tmp_path / "run", "cpu")
    assert loaded.facts["mug"]["enlarge"] == 2
    pictures = [given.render("mug", cameras_of(1)).rgb for given in (scenes, loaded)]
    torch.testing.assert_close(*pictures, atol=2e-3, rtol=0)
    assert small.predict(torch.rand(2, 8, 9, 3), cameras_of(2), enlarge=1).facts == {}
    with pytest.raises(ValueError, match="enlarge: expected a divisor .* 4, got 3; give another"):
        small.predict(torch.rand(2, 8, 9, 3), cameras_of(2), enlarge=3)


def test_a_bundle_without_an_encoder_says_how_to_get_one(bundle):
    plain = lns.load_bundle(bundle.shared.folder.parent.parent / "plain", "cpu")
    with pytest.raises(ValueError, match="expected a scene encoder, got none; teach it one"):
        plain.predict(torch.rand(1, 8, 9, 3), cameras_of(1))
