"""Predictions that are corrected by their photos: rays through their pixels, gradients, and what does not matter."""

import pytest
import torch
from tiny import SHARED, camera_of, latent_model_of, small_nerf, write_bundle_with_encoder

from latent_nerfstudio.latent_space.cameras import intrinsics_of
from latent_nerfstudio.models import predicting
from latent_nerfstudio.models.predicting import composed, look, missing_of, photo_rays, predict, trace
from latent_nerfstudio.scene_encoder.network import Prediction
from latent_nerfstudio.scene_encoder.projection import Photos, project


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A model in RGB against a bundle with a scene encoder of random weights, for two scenes."""
    folder = tmp_path_factory.mktemp("bundle")
    write_bundle_with_encoder(folder)
    return latent_model_of("identity", ["a", "b"], nerf=small_nerf(**SHARED), shared_bundle=str(folder / "run"))


@pytest.fixture
def few_rays(monkeypatch):
    """Looks of 60 pixels, of a photo at least 6 and at most all of them."""
    monkeypatch.setattr(predicting, "LOOK_RAYS", 60)
    monkeypatch.setattr(predicting, "PHOTO_RAYS", (6, 60))
    monkeypatch.setattr(predicting, "COUNTED", 60)


def photos_of(count: int, width: int = 12, height: int = 10, scenes: int = 1) -> Photos:
    cameras = camera_of(width, height, 14.0, count)
    latents = torch.rand(scenes, count, 3, height, width, generator=torch.Generator().manual_seed(count))
    poses = cameras.camera_to_worlds.float().expand(scenes, -1, -1, -1)
    return Photos(latents, poses, intrinsics_of(cameras).expand(scenes, -1, -1))


def random_prediction(model, scenes: int = 2) -> Prediction:
    draw, field = torch.Generator().manual_seed(3), model.nerf.field
    micro = torch.randn(scenes, *field.micro_planes.shape[1:], generator=draw)
    return Prediction(micro, torch.randn(scenes, field.scene_weights.shape[1], generator=draw))


def boxes_of(model, scenes: int = 1) -> torch.Tensor:
    return 0.5 * model.nerf.aabb.expand(scenes, 2, 3)


def assert_same(first, second, atol=1e-5):
    for a, b in zip(first, second, strict=True):
        torch.testing.assert_close(a, b, atol=atol, rtol=1e-4)


def test_rays_of_photos_project_back_onto_the_pixels_whose_latents_they_bring(model, few_rays):
    photos = photos_of(2, scenes=2)
    shown = photo_rays(model.latent_space, [photos], boxes_of(model, 2), (0.2, 0.5))
    rays, slots = shown.rays, shown.slots
    assert slots.tolist() == [0] * 60 + [1] * 60  # of 120 pixels, every second of each photo: 30 of 5 x 6
    assert_same(rays.metadata["background"], torch.ones(120, 3))
    for start in range(0, 120, 30):
        scene, photo, part = start // 60, start // 30 % 2, slice(start, start + 30)
        points = (rays.origins + 1.3 * rays.directions)[part]
        own = photos.poses[scene, photo], photos.intrinsics[scene, photo]
        places = project(points[None], *(value[None, None] for value in own))[0][0, 0]
        row, col = torch.cartesian_prod(torch.arange(0, 10, 2), torch.arange(1, 12, 2)).T
        torch.testing.assert_close(places, torch.stack([col, row], dim=1) + 0.5, atol=1e-3, rtol=0)
        assert torch.equal(shown.target[part], photos.latents[scene, photo][:, row, col].T)


def test_photos_share_the_pixels_of_a_look_until_they_are_many(model, few_rays):
    """Of 120 pixels one gives 7 x 8, two give every second one, ten six each, and so does each of twenty."""
    seen = {count: photo_rays(model.latent_space, [photos_of(count)], boxes_of(model)) for count in (1, 2, 10, 20)}
    assert {count: len(rays.slots) for count, rays in seen.items()} == {1: 56, 2: 60, 10: 60, 20: 120}


def test_pixels_that_masks_hide_are_not_compared(model, few_rays):
    photos = photos_of(2)
    masks = torch.ones(1, 2, 10, 12, dtype=torch.bool)
    masks[:, 1, :, :6] = False
    shown = photo_rays(model.latent_space, [photos._replace(masks=masks)], boxes_of(model))
    assert len(shown.slots) == 30 + 15
    hidden = photos._replace(masks=torch.zeros_like(masks))
    assert not len(photo_rays(model.latent_space, [hidden], boxes_of(model)).slots)
    assert_same(predict(model, [hidden], boxes_of(model)), model.scene_encoder([hidden], boxes_of(model))[0])


def test_what_is_missing_is_the_gradient_of_the_photos_error_and_where_rays_saw_something(model, few_rays):
    """Against differences of the error, and a loop over samples and texels."""
    nerf, prediction = model.nerf.eval(), random_prediction(model)
    shown = photo_rays(model.latent_space, [photos_of(2, scenes=2)], boxes_of(model, 2))
    missing = missing_of(nerf, prediction, shown)

    def error(planes):
        return float((trace(nerf, planes, shown.rays, shown.slots).latents - shown.target).double().square().sum())

    planes = composed(nerf, prediction).detach()
    for place in missing.gradient.flatten().abs().topk(5).indices.tolist():
        step = torch.zeros_like(planes)
        step.view(-1)[place] = 1e-2
        found = (error(planes + step) - error(planes - step)) / 2e-2
        assert float(missing.gradient.flatten()[place]) == pytest.approx(found, rel=0.03)
    traced = trace(nerf, planes, shown.rays, shown.slots)
    expected = torch.zeros(2, 3, 8, 8)
    for ray, slot in enumerate(traced.slots.tolist()):
        for position, weight in zip(traced.positions[ray], traced.weights[ray].tolist(), strict=True):
            for plane, pair in enumerate(((0, 1), (0, 2), (1, 2))):
                place = (position[list(pair)].clamp(-1, 1) + 1) / 2 * 7
                near = (1 - (place[:, None] - torch.arange(8)).abs()).clamp(min=0)
                expected[slot, plane] += weight * near[1][:, None] * near[0]
    torch.testing.assert_close(missing.seen[:, :, 0], expected, atol=1e-4, rtol=1e-3)
    samples = torch.bincount(traced.slots, minlength=2) * traced.weights.shape[1]
    torch.testing.assert_close(missing.passed.sum(dim=(2, 3, 4)), samples[:, None].expand(2, 3).float())


def test_neither_order_nor_grouping_of_photos_matters_nor_whether_the_model_trains(model, few_rays):
    photos, boxes = photos_of(4), boxes_of(model)
    parts = [Photos(*(None if v is None else v[:, own] for v in photos)) for own in ([2, 0], [3, 1])]
    expected = predict(model, [photos], boxes)
    assert_same(predict(model, parts, boxes), expected)
    model.nerf.train()
    assert_same(predict(model, [photos], boxes), expected)
    assert model.nerf.training and not model.nerf.eval().training
    assert not torch.allclose(expected.micro_planes, model.scene_encoder([photos], boxes)[0].micro_planes)


def test_scenes_do_not_see_each_other(model, few_rays):
    photos, boxes = photos_of(3, scenes=2), boxes_of(model, 2)
    both = predict(model, [photos], boxes)
    for scene in range(2):
        own = slice(scene, scene + 1)
        alone = predict(model, [Photos(*(None if v is None else v[own] for v in photos))], boxes[own])
        assert_same(alone, [value[own] for value in both], atol=1e-3)  # points of little gradient are left out together


def test_photos_that_are_hidden_or_look_away_are_as_none(model, few_rays):
    """They take no pixels from the others, and change nothing."""
    photos, boxes = photos_of(3), boxes_of(model)
    alone = predict(model, [Photos(*(None if v is None else v[:, :1] for v in photos))], boxes)
    masks = torch.ones(1, 3, 10, 12, dtype=torch.bool)
    masks[:, 1:] = False
    assert_same(predict(model, [photos._replace(masks=masks)], boxes), alone)
    poses = photos.poses.clone()
    poses[:, 1:, :, 0] *= -1
    poses[:, 1:, :, 2] *= -1  # turned around
    assert_same(predict(model, [photos._replace(poses=poses)], boxes), alone)


def test_a_scene_that_shows_nothing_stays_as_at_first_sight_beside_one_that_is_corrected(model, few_rays):
    photos, boxes = photos_of(2, scenes=2), boxes_of(model, 2)
    masks = torch.ones(2, 2, 10, 12, dtype=torch.bool)
    masks[1] = False
    hidden = photos._replace(masks=masks)
    first, both = model.scene_encoder([hidden], boxes)[0], predict(model, [hidden], boxes)
    assert torch.equal(both.micro_planes[1], first.micro_planes[1])
    alone = predict(model, [Photos(*(None if v is None else v[:1] for v in photos))], boxes[:1])
    assert_same(alone, [value[:1] for value in both], atol=1e-3)


def test_gradients_of_a_look_reach_the_correction_and_not_the_look_before(model, few_rays):
    encoder, photos, boxes = model.scene_encoder.requires_grad_(), photos_of(2), boxes_of(model)
    first, known = encoder([photos], boxes)
    second = look(encoder, model, first, known.detach(), photo_rays(model.latent_space, [photos], boxes))
    second.micro_planes.square().sum().backward()
    reached = {name for name, p in encoder.named_parameters() if p.grad is not None and bool(p.grad.any())}
    assert reached == {name for name, _ in encoder.named_parameters() if name.startswith("correction.")}
    encoder.requires_grad_(False)
