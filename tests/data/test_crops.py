"""Crops: their cameras see what the whole camera sees there, and they lie around the object."""

import pytest
import torch
from tiny import camera_of

from latent_nerfstudio.data.crops import (
    ObjectPixels,
    cropped,
    cropped_cameras,
    draw_crops,
    is_plain,
    object_latents,
    sees_object,
)

WHITE = torch.ones(3)


def rays_of(cameras, index):
    return cameras.generate_rays(camera_indices=index, keep_shape=True)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_what_is_of_one_colour():
    """Two levels of 255 are noise, as of JPEG, and three are not; nothing is of one colour, too."""
    photo = torch.full((4, 5, 3), 100.0)
    assert is_plain(photo / 255) and is_plain(photo[:0] / 255)
    for level, expected in ((2, True), (3, False)):
        photo[2, 3, 1] = 100 + level
        assert is_plain(photo / 255) == expected


@pytest.mark.parametrize(
    ("width", "height", "side", "corners"),
    [
        (24, 24, 8, [[0, 0], [16, 16], [3, 7]]),
        (30, 17, 9, [[8, 0], [0, 21], [5, 13]]),
        (13, 26, 20, [[6, 0], [0, 0], [2, 0]]),
        (21, 16, 50, [[0, 0]] * 3),
    ],
    ids=["square", "wide", "side longer than the width", "side longer than both"],
)
def test_rays_of_a_crop_are_those_of_the_whole_camera(width, height, side, corners):
    cameras = camera_of(width, height, count=3, scene=2)
    places = torch.tensor(corners)
    parts = cropped_cameras(cameras, places, side)
    assert len(parts) == 3 and bool((parts.metadata["scene_index"] == 2).all())
    for index, (top, left) in enumerate(corners):
        part, whole = rays_of(parts, index), rays_of(cameras, index)
        assert part.directions.shape[:2] == (min(side, height), min(side, width))
        expected = whole.directions[top : top + side, left : left + side]
        torch.testing.assert_close(part.directions, expected, atol=1e-6, rtol=0)
        assert torch.equal(part.origins[0, 0], whole.origins[0, 0])
    assert (int(cameras.width[0]), int(cameras.height[0])) == (width, height)  # they are left as they are


def test_the_background_is_a_colour_and_its_noise_is_no_object():
    images = torch.zeros(1, 30, 30, 3, dtype=torch.uint8)
    images[..., 0] = 102  # 0.4
    images[..., 1] = 1
    images[0, 20, 20] = 255
    for seed in range(9):
        assert corners_of(images, torch.tensor([0.4, 0.0, 0.0]), 5, generator(seed)).tolist() == [[18, 18]]


def test_cutting_by_hand():
    pictures = torch.arange(2 * 5 * 6).view(2, 5, 6, 1)
    parts = cropped(list(pictures), torch.tensor([[1, 2], [3, 4]]), 2)
    assert torch.stack(parts)[..., 0].tolist() == [[[8, 9], [14, 15]], [[52, 53], [58, 59]]]
    assert torch.equal(torch.stack(cropped(list(pictures), torch.zeros(2, 2, dtype=torch.long), 9)), pictures)


def corners_of(images, color, side, source):
    """Corners of crops of pictures before a background."""
    found = ObjectPixels(color)
    objects = [found.of(index, image) for index, image in enumerate(images)]
    assert all(torch.equal(found.of(index, torch.zeros_like(images[0])), one) for index, one in enumerate(objects))
    return draw_crops(objects, tuple(images.shape[1:3]), side, source)


@pytest.mark.parametrize("kind", [torch.uint8, torch.float32])
@pytest.mark.parametrize(("height", "width", "side"), [(40, 40, 10), (25, 60, 11), (60, 25, 1)])
def test_crops_hold_a_pixel_of_the_object_and_lie_inside(kind, height, width, side):
    images = torch.full((4, height, width, 3), 255, dtype=torch.uint8)
    images[0, 0, 0] = 0  # the corners, where crops are moved into the picture
    images[1, -1, -1, 1] = 0
    images[2, 12, 20] = torch.tensor([255, 252, 255], dtype=torch.uint8)
    images[3, 5:9, 15:22] = 100
    solid = (images != 255).any(dim=-1)
    given = images if kind == torch.uint8 else images.float() / 255
    for seed in range(20):
        corners = corners_of(given, WHITE, side, generator(seed))
        assert corners.shape == (4, 2) and int(corners.min()) >= 0
        assert bool((corners + side <= torch.tensor([height, width])).all())
        for one, (top, left) in zip(solid, corners.tolist(), strict=True):
            assert bool(one[top : top + side, left : left + side].any())


def test_pictures_of_nothing_are_cropped_anywhere_and_small_ones_at_their_border():
    images = torch.full((1, 20, 30, 3), 255, dtype=torch.uint8)
    corners = torch.cat([corners_of(images, WHITE, 6, generator(seed)) for seed in range(200)])
    assert corners.min(dim=0).values.tolist() == [0, 0] and corners.max(dim=0).values.tolist() == [14, 24]
    images = torch.zeros(2, 8, 12, 3)
    assert corners_of(images, WHITE, 50, generator()).tolist() == [[0, 0], [0, 0]]
    corners = torch.cat([corners_of(images, WHITE, 10, generator(seed)) for seed in range(20)])
    assert not corners[:, 0].any() and set(corners[:, 1].tolist()) == {0, 1, 2}


def test_every_place_of_an_object_is_drawn():
    image = torch.zeros(4, 5, 3)
    image[1, 3] = image[2, 0] = image[3, 4] = 1
    places = ObjectPixels(torch.zeros(3)).of(0, image)
    assert places.tolist() == [1 * 5 + 3, 2 * 5, 3 * 5 + 4]
    drawn = {tuple(draw_crops([places], (4, 5), 1, generator(seed))[0].tolist()) for seed in range(40)}
    assert drawn == {(1, 3), (2, 0), (3, 4)}


def test_latents_that_see_an_object_by_hand():
    photo = torch.ones(4, 6, 3)
    photo[0, 1, 2] = 1 - 3 / 255  # three levels in one channel
    photo[3, 3] = 1 - 2 / 255  # two levels: still background
    photo[3, 5] = 0
    assert sees_object(photo[None], WHITE, 2)[0].tolist() == [[True, False, False], [False, False, True]]
    assert int(sees_object(photo[None], WHITE, 1).sum()) == 2
    photo = torch.ones(5, 3, 3)  # whose latent pixels lie partly outside of it
    photo[4, 2] = 0
    assert sees_object(photo[None], WHITE, 4)[0].tolist() == [[False], [True]]
    raw, photo = torch.arange(6.0).view(1, 2, 3, 1), torch.ones(1, 4, 6, 3)
    assert object_latents(raw, photo, WHITE, 2).tolist() == [[float(i)] for i in range(6)]
    photo[0, 3, 5] = 0
    assert object_latents(raw, photo, WHITE, 2).tolist() == [[5.0]]
    kept = torch.ones(1, 2, 3, dtype=torch.bool)
    photo[0, 0, 0] = 0.0
    assert object_latents(raw, photo, WHITE, 2, kept).tolist() == [[0.0], [5.0]]
    kept[0, 0, 0] = False
    assert object_latents(raw, photo, WHITE, 2, kept).tolist() == [[5.0]]
