"""The datamanager: what it loads and when, batches that belong together, and nerfstudio's own dataparsers."""

import json

import numpy as np
import pytest
import torch
from nerfstudio.cameras.cameras import Cameras, CameraType
from nerfstudio.data.dataparsers.blender_dataparser import BlenderDataParserConfig
from nerfstudio.data.dataparsers.instant_ngp_dataparser import InstantNGPDataParserConfig
from nerfstudio.data.dataparsers.nerfstudio_dataparser import NerfstudioDataParserConfig
from PIL import Image
from scene_folders import write_blender, write_masks
from tiny import datamanager_of, poses_around, write_ball

from latent_nerfstudio.data.latent_cache import encode_images
from latent_nerfstudio.data.latent_datamanager import LatentDataManager, scene_indices
from latent_nerfstudio.data.scenes_dataparser import ScenesDataParserConfig
from latent_nerfstudio.latent_space.autoencoder import AutoencoderConfig
from latent_nerfstudio.latent_space.latent_space import LatentSpace, as_float, over_background
from latent_nerfstudio.latent_space.resolution import latent_cameras


def space_of(source="identity"):
    return LatentSpace(AutoencoderConfig(source=str(source)), "mean-std")


def prepared(data, source="identity", **settings):
    manager = datamanager_of(data, **settings)
    manager.prepare(space_of(source))
    return manager


def test_the_constructor_loads_and_encodes_nothing(balls, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("pictures were loaded")

    monkeypatch.setattr(LatentDataManager, "_load_images", refuse)
    manager = datamanager_of(balls)
    assert manager.table is None and manager.get_train_rays_per_batch() == 256


def test_preparing_fits_the_latent_space_once(balls, kl):
    space = space_of(kl)
    datamanager_of(balls).prepare(space)
    assert bool(space.fitted)
    manager = prepared(balls, kl)
    pictures = [picture["image"] for picture in manager.cached_train]
    masks = [(picture.float().unfold(0, 4, 4).unfold(1, 4, 4) < 252).flatten(2).any(dim=-1) for picture in pictures]
    raw = torch.cat([as_float(manager.table.picture(i))[mask] for i, mask in enumerate(masks)])
    torch.testing.assert_close(space.normalizer.mean, raw.mean(dim=0), atol=1e-4, rtol=1e-3)
    space.normalizer.mean.fill_(7)
    datamanager_of(balls).prepare(space)
    assert space.normalizer.mean.tolist() == [7.0] * 4


@pytest.mark.parametrize(("color", "value"), [("white", (1, 1, 1)), ("green", (0, 1, 0)), (None, (0, 0, 1))])
def test_transparency_shows_the_colour_of_the_dataparser_or_else_of_the_datamanager(balls, color, value):
    parser = ScenesDataParserConfig(data=balls, alpha_color=color)
    manager = prepared(balls, dataparser=parser, background_color="blue")
    train, held_out = (manager.train_dataset, manager.cached_train), (manager.eval_dataset, manager.cached_eval)
    for dataset, pictures in (train, held_out):
        assert dataset.metadata["background_color"] == value
        for path, picture in zip(dataset.image_filenames, pictures, strict=True):
            source = np.asarray(Image.open(path)).astype(float) / 255
            expected = source[..., :3] * source[..., 3:] + np.array(value) * (1 - source[..., 3:])
            assert picture["image"].dtype == torch.uint8
            np.testing.assert_allclose(picture["image"].numpy() / 255, expected, atol=1.01 / 255)


@pytest.mark.parametrize("kind", [torch.uint8, torch.float32])
def test_half_transparency_by_hand(kind):
    image = torch.tensor([[[255, 0, 0, 102]]], dtype=torch.uint8)
    image = image if kind == torch.uint8 else image.float() / 255
    over = over_background(image, torch.tensor([0.0, 1.0, 1.0]))
    assert over.dtype == kind
    torch.testing.assert_close(as_float(over), torch.tensor([[[0.4, 0.6, 0.6]]]))
    assert torch.equal(over_background(over, torch.zeros(3)), over)


PAIRS = [("identity", "balls"), ("kl", "mixed_sizes")]


@pytest.mark.parametrize(("source", "scenes"), [*PAIRS, ("kl8", "mixed_sizes")], indirect=["source"])
def test_rays_and_latents_of_a_batch_belong_together(request, source, scenes):
    space = space_of(source)
    manager = datamanager_of(request.getfixturevalue(scenes))
    manager.prepare(space)
    rays, batch = manager.next_train(3)
    cameras = latent_cameras(manager.train_dataset.cameras, space.downscale_factor)
    raw = encode_images([p["image"] for p in manager.cached_train], space.autoencoder, 1)
    assert len(rays) == len(batch["raw_latent"]) == len(batch["position"])
    for i in range(0, len(rays), 17):
        picture = int(rays.camera_indices[i])
        row, column, height, width = batch["position"][i].tolist()
        assert (height, width) == tuple(raw[picture].shape[:2])
        expected = raw[picture][row, column]
        got = as_float(batch["raw_latent"][i : i + 1])[0]
        torch.testing.assert_close(got, as_float(expected), atol=2e-2, rtol=2e-2)  # other batches, in bfloat16
        single = cameras.generate_rays(camera_indices=picture, keep_shape=True)
        torch.testing.assert_close(rays.directions[i], single.directions[row, column])
        torch.testing.assert_close(rays.origins[i], single.origins[row, column])
        assert int(rays.metadata["scene_index"][i]) == scene_indices(manager.train_dataset.cameras)[picture]


def test_draws_are_functions_of_seed_and_step(balls, kl):
    first, second = prepared(balls, kl), prepared(balls, kl)
    for _ in range(3):
        second.next_train(7)
    assert torch.equal(first.next_train(5)[1]["raw_latent"], second.next_train(5)[1]["raw_latent"])
    assert torch.equal(first.next_train(5)[0].origins, second.next_train(5)[0].origins)
    assert not torch.equal(first.next_train(5)[0].origins, first.next_train(6)[0].origins)
    assert torch.equal(first.next_train_images(5)[1]["image"], second.next_train_images(5)[1]["image"])
    other = prepared(balls, kl, train_cameras_sampling_seed=1)
    assert not torch.equal(first.next_train(5)[0].origins, other.next_train(5)[0].origins)


@pytest.mark.parametrize("scenes", ["balls", "mixed_sizes"])
def test_whole_pictures_are_of_one_size_and_belong_together(request, scenes, kl):
    manager = prepared(request.getfixturevalue(scenes), kl, images_per_batch=3)
    cameras = manager.train_dataset.cameras
    for step in range(6):
        drawn, batch = manager.next_train_images(step)
        assert len(drawn) == 3 and batch["image"].dtype == torch.float32
        assert len(set(drawn.width.flatten().tolist())) == 1
        for i in range(3):
            same = (cameras.camera_to_worlds == drawn.camera_to_worlds[i]).all(dim=-1).all(dim=-1)
            scene = cameras.metadata["scene_index"][:, 0] == drawn.metadata["scene_index"][i]
            (picture,) = (same & scene).nonzero()[:, 0].tolist()
            assert batch["image"].shape[1:3] == (int(drawn.height[i]), int(drawn.width[i]))
            assert torch.equal(batch["image"][i], as_float(manager.cached_train[picture]["image"]))


@pytest.mark.parametrize("crop", [7, 20, 64])
def test_crops_are_parts_of_the_pictures_and_see_the_object(mixed_sizes, crop):
    manager, again = (datamanager_of(mixed_sizes, images_per_batch=3) for _ in range(2))
    for one in (manager, again):
        one.prepare_pictures()
    for step in range(4):
        whole, pictures = manager.next_train_images(step)
        parts, batch = manager.next_train_images(step, crop)
        height, width = (min(crop, extent) for extent in pictures["image"].shape[1:3])
        assert batch["image"].shape == (3, height, width, 3) and batch["image"].dtype == torch.float32
        for i in range(3):
            left, top = (int(getattr(whole, name)[i] - getattr(parts, name)[i]) for name in ("cx", "cy"))
            part = pictures["image"][i, top : top + height, left : left + width]
            assert torch.equal(batch["image"][i], part) and bool((part < 0.95).any())
            rays, all_rays = (c.generate_rays(camera_indices=i, keep_shape=True) for c in (parts, whole))
            expected = all_rays.directions[top : top + height, left : left + width]
            torch.testing.assert_close(rays.directions, expected, atol=1e-6, rtol=0)
            assert torch.equal(parts.metadata["scene_index"], whole.metadata["scene_index"])
    assert int(manager.train_dataset.cameras.width.min()) > 7 and manager.table is None
    assert torch.equal(again.next_train_images(3, crop)[1]["image"], batch["image"])


def test_pictures_as_floats(balls, kl):
    floats = prepared(balls, kl, cache_images_type="float32")
    torch.testing.assert_close(floats.table.values, prepared(balls, kl).table.values, atol=0.02, rtol=0.02)
    assert float(floats.next_train_images(0)[1]["image"].max()) <= 1


def test_masked_pixels_are_not_drawn(tmp_path, kl):
    write_ball(tmp_path, mode="RGB")
    rng = np.random.default_rng(0)
    write_masks(tmp_path, lambda _: np.kron(rng.random((4, 4)) > 0.5, np.ones((8, 8))))
    manager = prepared(tmp_path, kl)
    rays, batch = manager.next_train(0)
    for i in range(len(rays)):
        row, column = batch["position"][i, :2].tolist()
        mask = manager.cached_train[int(rays.camera_indices[i])]["mask"][..., 0]
        assert bool(mask[4 * row : 4 * row + 4, 4 * column : 4 * column + 4].all())
    _, pictures = manager.next_train_images(0)
    assert pictures["mask"].shape == (4, 32, 32, 1) and pictures["mask"].dtype == torch.bool
    whole, _ = manager.next_train_images(0)
    parts, crops = manager.next_train_images(0, 10)
    for i in range(4):
        left, top = int(whole.cx[i] - parts.cx[i]), int(whole.cy[i] - parts.cy[i])
        assert torch.equal(crops["mask"][i], pictures["mask"][i, top : top + 10, left : left + 10])


@pytest.mark.parametrize(("source", "scenes"), PAIRS, indirect=["source"])
def test_streamed_draws_are_those_in_memory(request, source, scenes, tmp_path):
    """Bit by bit, whether latents are found in a cache or not."""
    data = request.getfixturevalue(scenes)
    inside = prepared(data, source, images_per_batch=3)
    for _ in range(2):
        streamed = prepared(data, source, images_per_batch=3, latent_storage="stream", latent_cache=str(tmp_path))
        assert isinstance(inside.cached_train, list) and not isinstance(streamed.cached_train, list)
        for step in range(4):
            for draw in ("next_train", "next_train_images"):
                (cameras, batch), (same_cameras, same) = (getattr(m, draw)(step) for m in (inside, streamed))
                assert sorted(batch) == sorted(same) and all(torch.equal(batch[name], same[name]) for name in batch)
                name = "origins" if draw == "next_train" else "camera_to_worlds"
                assert torch.equal(getattr(cameras, name), getattr(same_cameras, name))
            indices = streamed.next_train_images(step)[1]["indices"]
            assert torch.equal(inside.raw_latents(indices), streamed.raw_latents(indices))
            crops = [m.next_train_images(step, 9)[1]["image"] for m in (inside, streamed)]
            assert torch.equal(*crops)


def test_streamed_views_for_evaluation_and_what_is_not_streamed(balls, tmp_path):
    inside, streamed = prepared(balls), prepared(balls, latent_storage="stream")
    loaders = [m.fixed_indices_eval_dataloader for m in (inside, streamed)]
    assert len(loaders[0]) == len(loaders[1]) == 3
    for (camera, picture), (same_camera, same) in zip(*loaders, strict=True):
        assert torch.equal(camera.camera_to_worlds, same_camera.camera_to_worlds)
        assert torch.equal(picture["image"], same["image"]) and picture["image_idx"] == same["image_idx"]
    assert streamed.next_eval_image(0)[1]["image"].shape == (32, 32, 3)
    write_ball(tmp_path, mode="RGB", k1=0.1)
    with pytest.raises(ValueError, match="latent_storage 'stream': expected pictures without distortion, got dist"):
        prepared(tmp_path, latent_storage="stream")
    assert not datamanager_of(tmp_path).streams and not datamanager_of(balls).streams
    assert datamanager_of(balls).memory_bytes() == 2 * 18 * 32 * 32 * 3
    manager = datamanager_of(write_ball(tmp_path / "other"), latent_storage="stream")
    Image.new("RGB", (8, 9)).save(manager.train_dataset.image_filenames[1])
    with pytest.raises(ValueError, match="expected the 32 x 32 pixels of its camera, got 9 x 8; correct the camera"):
        manager.cached_train[1]


def test_pictures_of_the_chosen_scenes_against_a_search(mixed_sizes):
    manager = prepared(mixed_sizes, images_per_batch=50, scenes_per_batch=1)
    scenes = torch.tensor(scene_indices(manager.train_dataset.cameras))
    for step in range(5):
        indices = manager.next_train_images(step)[1]["indices"]
        (scene,) = scenes[indices].unique().tolist()
        assert sorted(indices.tolist()) == (scenes == scene).nonzero()[:, 0].tolist()


def test_blender_data(tmp_path, kl):
    write_blender(tmp_path, train=4, val=2, test=2)
    manager = prepared(tmp_path, kl, dataparser=BlenderDataParserConfig(data=tmp_path))
    assert manager.train_dataset.metadata["background_color"] == (1.0, 1.0, 1.0)
    rays, batch = manager.next_train(0)
    assert batch["raw_latent"].shape == (256, 4) and bool((rays.metadata["scene_index"] == 0).all())
    assert set(rays.camera_indices.flatten().tolist()) == {0, 1, 2, 3}
    camera, picture = manager.next_eval_image(0)
    assert picture["image"].shape == (8, 8, 3)


def shade(directions):
    """A colour that is a smooth function of the direction, so that a picture tells where its pixels look."""
    return 0.5 + 0.4 * torch.sin(3 * directions)


def write_distorted(folder, model, coefficients):
    """Writes a scene of one panorama seen by distorted cameras that stand at the origin."""
    poses = poses_around(6, radius=0.0)
    names = ("k1", "k2", "k3", "k4", "p1", "p2")
    kind = CameraType.FISHEYE if model == "OPENCV_FISHEYE" else CameraType.PERSPECTIVE
    cameras = Cameras(
        camera_to_worlds=torch.tensor(poses[:, :3], dtype=torch.float32),
        **{"fx": 60.0, "fy": 58.0, "cx": 33.0, "cy": 31.5, "width": 64, "height": 64},
        distortion_params=torch.tensor([coefficients.get(name, 0.0) for name in names]).expand(6, 6),
        camera_type=kind,
    )
    (folder / "images").mkdir()
    frames = []
    for index, pose in enumerate(poses):
        directions = cameras.generate_rays(camera_indices=index, keep_shape=True).directions
        picture = (shade(directions) * 255).round().byte().numpy()
        frames.append({"file_path": f"images/{index}.png", "transform_matrix": pose.tolist()})
        Image.fromarray(picture).save(folder / frames[-1]["file_path"])
    meta = {"camera_model": model, "fl_x": 60.0, "fl_y": 58.0, "cx": 33.0, "cy": 31.5, "w": 64, "h": 64}
    meta = {**meta, "aabb": [[-1] * 3, [1] * 3], **coefficients, "frames": frames}
    (folder / "transforms.json").write_text(json.dumps(meta))


@pytest.mark.parametrize(
    ("model", "coefficients", "is_theirs"),
    [
        ("OPENCV", {"k1": -0.25, "k2": 0.05, "p1": 0.01, "p2": -0.01}, False),
        ("OPENCV", {"k1": -0.25}, True),
        ("OPENCV_FISHEYE", {"k1": 0.1, "k2": -0.02}, False),
        ("OPENCV_FISHEYE", {}, True),
        ("OPENCV", {}, False),
    ],
)
def test_pixels_of_distorted_pictures_look_where_their_rays_go(tmp_path, model, coefficients, is_theirs):
    write_distorted(tmp_path, model, coefficients)
    placing = {"orientation_method": "none", "center_method": "none", "auto_scale_poses": False}
    options = {**placing, "eval_mode": "interval", "eval_interval": 3}
    theirs = NerfstudioDataParserConfig(data=tmp_path, **options) if is_theirs else None
    manager = prepared(tmp_path, dataparser=theirs, rays_per_batch=2000)
    rays, batch = manager.next_train(0)
    check_directions(as_float(batch["raw_latent"]), rays.directions)
    camera, batch = manager.fixed_indices_eval_dataloader[0]
    rays = camera.generate_rays(camera_indices=0, keep_shape=True)
    check_directions(as_float(batch["image"]), rays.directions)


def check_directions(colors, directions):
    """All but the outermost pixels, which undistortion may blend with black, have the colours of their directions."""
    right = (colors - shade(directions)).abs().amax(dim=-1) < 0.02
    assert float(right.float().mean()) > 0.99


def test_pictures_without_a_camera_each_are_refused(tmp_path):
    """Nerfstudio's InstantNGP reads one held-out pose by an index of one number, which takes it for a view's row."""
    write_ball(tmp_path, (1, 0, 0), views=10)
    parser = InstantNGPDataParserConfig(data=tmp_path, train_split_fraction=0.9)
    with pytest.raises(ValueError, match="cameras of InstantNGP.*: expected one for each of 1 pictures, .*0.5"):
        datamanager_of(tmp_path, parser)
    manager = datamanager_of(tmp_path, InstantNGPDataParserConfig(data=tmp_path, train_split_fraction=0.8))
    assert (len(manager.train_dataset.cameras), len(manager.eval_dataset.cameras)) == (8, 2)
