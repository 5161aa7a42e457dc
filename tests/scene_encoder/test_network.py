"""The scene encoder: photos add up in any order, number and size, and gradients reach all of it."""

import pytest
import torch
from tiny import SMALL_ENCODER, poses_around

from latent_nerfstudio.fields.planes import PLANE_AXES
from latent_nerfstudio.scene_encoder import network
from latent_nerfstudio.scene_encoder.correction import Missing
from latent_nerfstudio.scene_encoder.network import Prediction, SceneEncoder, SceneEncoderConfig, flattened, within_box
from latent_nerfstudio.scene_encoder.plane_blocks import profiles
from latent_nerfstudio.scene_encoder.projection import Photos

BOX = torch.tensor([[-0.5, -0.4, -0.3], [0.5, 0.4, 0.3]])


def encoder_of(trained: bool = True, bases: int = 3, **sizes) -> SceneEncoder:
    torch.manual_seed(0)
    config = SceneEncoderConfig(**{**SMALL_ENCODER, "grid": 6, **sizes})
    encoder = SceneEncoder(
        config, 2, BOX, features=3, all_features=5, resolution=9, mean_weights=torch.arange(float(bases))
    )
    if trained:
        for parameter in encoder.parameters():
            parameter.data.add_(0.1 * torch.randn_like(parameter))
    return encoder


def photos_of(count: int, rows: int = 7, cols: int = 8, seed: int = 0, scenes: int = 1) -> Photos:
    draw = torch.Generator().manual_seed(seed)
    poses = torch.tensor(poses_around(scenes * count, 2.0, seed)[:, :3], dtype=torch.float32)
    intrinsics = torch.tensor([12.0, 12.0, cols / 2, rows / 2]).expand(scenes, count, 4)
    latents = torch.randn(scenes, count, 2, rows, cols, generator=draw)
    return Photos(latents, poses.view(scenes, count, 3, 4), intrinsics)


def seen(encoder: SceneEncoder, *given) -> Prediction:
    """Scenes at first sight."""
    return encoder(*given)[0]


def random_missing() -> Missing:
    """What photos might show of one scene of `encoder_of`."""
    return Missing(torch.randn(1, 3, 5, 9, 9), torch.rand(1, 3, 1, 9, 9), torch.rand(1, 3, 1, 9, 9))


def of(photos: Photos, index) -> Photos:
    return Photos(*(None if value is None else value[:, index] for value in photos))


def assert_same(first, second, atol=1e-5):
    for a, b in zip(first, second, strict=True):
        torch.testing.assert_close(a, b, atol=atol, rtol=1e-4)


def test_untrained_it_predicts_the_mean_scene():
    micro, weights = seen(encoder_of(trained=False), [photos_of(2)])
    assert micro.shape == (1, 3, 3, 9, 9) and not bool(micro.any())
    assert weights.tolist() == [[0, 1, 2]]
    assert seen(encoder_of(bases=0), [photos_of(1)]).scene_weights.shape == (1, 0)


def test_untrained_it_corrects_nothing_and_without_looks_has_nothing_to_correct_with():
    encoder = encoder_of(trained=False)
    prediction, known = encoder([photos_of(2)])
    assert_same(encoder.corrected(prediction, random_missing(), known), prediction)
    assert encoder_of(looks=0).correction is None


def test_what_is_missing_counts_for_each_ray_that_saw_it():
    """Twice the gradient of twice the rays is the same error; where hardly any ray was, it counts less."""
    correction = encoder_of().correction
    assert correction is not None
    told = []
    correction.enter.register_forward_pre_hook(lambda _, given: told.append(given[0]))
    ones, known = torch.ones(1, 3, 1, 9, 9), torch.zeros(1, 3, 11, 9, 9)
    for gradient, rays in ((8.0, 1.5), (16.0, 3.5), (8.0, 0.0)):
        correction(torch.zeros(1, 3, 3, 9, 9), Missing(gradient * ones.expand(1, 3, 5, 9, 9), rays * ones, ones), known)
    torch.testing.assert_close(torch.stack(told)[:, 0, 0, 0, 0].exp(), torch.tensor([5.0, 5.0, 17.0]))


def test_where_points_lie_in_a_box():
    """Its middle at 0, its sides at -1 and 1, and no farther than 2; inside and on its sides 1."""
    points = torch.tensor([[0.0, 0.0, 0.0], [0.5, 1.0, -1.0], [9.0, 0.0, 0.0], [0.75, 0.0, 0.0]])
    places, inside = within_box(points, torch.tensor([[[-0.5, -1.0, -1.0], [0.5, 1.0, 1.0]]]), scenes=1)
    assert places[0].tolist() == [[0, 0, 0], [1, 1, -1], [2, 0, 0], [1.5, 0, 0]]
    assert inside[0, :, 0].tolist() == [1, 1, 0, 0]


def test_it_is_told_the_box_and_takes_all_of_it_where_none_is_known():
    encoder, photos = encoder_of(), photos_of(2, scenes=2)
    assert_same(seen(encoder, [photos]), seen(encoder, [photos], BOX.expand(2, 2, 3)))
    told = seen(encoder, [photos], torch.stack([BOX, BOX / 2]))
    assert_same([value[:1] for value in told], [value[:1] for value in seen(encoder, [photos])])
    assert not torch.allclose(told.micro_planes[1], seen(encoder, [photos]).micro_planes[1])
    older = encoder_of(knows_box=False)
    assert_same(seen(older, [photos], torch.stack([BOX, BOX / 2])), seen(older, [photos]))


@pytest.mark.parametrize("count", [1, network.AT_ONCE, network.AT_ONCE + 1, 40])
def test_any_number_of_photos_a_part_at_a_time(count):
    encoder, photos = encoder_of(), photos_of(count)
    assert_same(seen(encoder, [photos]), seen(encoder, [of(photos, [i]) for i in range(count)]), atol=1e-4)


def test_a_photo_given_twice_changes_the_count_alone():
    encoder, photo = encoder_of(), photos_of(1)
    once, twice = (encoder.sums_of(of(photo, [0] * n)) for n in (1, 2))
    for a, b in zip(once, twice, strict=True):
        torch.testing.assert_close(2 * a, b)


def test_gradients_reach_every_parameter_and_the_latents():
    encoder, photos = encoder_of(), photos_of(3)
    latents = photos.latents.clone().requires_grad_()
    prediction, known = encoder([photos._replace(latents=latents)])
    micro, weights = encoder.corrected(prediction, random_missing(), known)
    (micro.square().sum() + weights.square().sum()).backward()
    unused = [name for name, p in encoder.named_parameters() if p.grad is None or not bool(p.grad.any())]
    assert not unused and bool(latents.grad.any())


def test_a_volume_is_flattened_along_the_normal_of_each_plane():
    volume = torch.rand(1, 4, 4, 4, 2)
    for axes in PLANE_AXES:
        flat = flattened(volume, axes)
        for x, y, z in ((0, 1, 2), (3, 0, 1)):
            point = (x, y, z)
            normal = ({0, 1, 2} - set(axes)).pop()
            texel = flat[0, point[axes[1]], point[axes[0]]].view(4, 2)
            torch.testing.assert_close(texel[point[normal]], volume[0, x, y, z])


def test_profiles_are_means_of_the_plane_that_shares_the_axis():
    planes = torch.rand(1, 3, 2, 4, 4)
    across, down = profiles(planes)
    xy, xz, yz = planes[0]
    expected_across = [xz.mean(-2), xy.mean(-2), xy.mean(-1)]  # x of XY from XZ, x of XZ from XY, y of YZ from XY
    expected_down = [yz.mean(-2), yz.mean(-1), xz.mean(-1)]  # y of XY from YZ, z of XZ from YZ, z of YZ from XZ
    torch.testing.assert_close(across[0], torch.stack(expected_across))
    torch.testing.assert_close(down[0], torch.stack(expected_down))
