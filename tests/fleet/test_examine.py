"""What is known of a scene before it is fitted, with values by hand."""

import dataclasses
import os
import shutil

import numpy as np
import pytest
from nerfstudio.cameras.cameras import CameraType
from tiny import write_ball

from latent_nerfstudio.data.layouts import read_scene
from latent_nerfstudio.data.sources import folder_stamp, lies_within, source_hash, sources_hash
from latent_nerfstudio.fields.placement import Placement
from latent_nerfstudio.fleet.examine import box_doubts, check_cameras, placement_in, sees
from latent_nerfstudio.models.shared_bundle import read_shared_bundle

BOX = np.array([[-0.7] * 3, [0.7] * 3])


@pytest.fixture(scope="module")
def frames(balls):
    """Six cameras at a distance of 2.5 that look at the origin, and a box of +-0.7."""
    return read_scene(balls / "a")


def moved(frames, scale, shift):
    """The same scene in other units, elsewhere."""
    poses = frames.camera_to_worlds.copy()
    poses[:, :, 3] = scale * poses[:, :, 3] + shift
    return dataclasses.replace(frames, camera_to_worlds=poses, aabb=scale * frames.aabb + shift)


def test_a_scene_within_the_box_stays_and_one_beyond_it_fills_it(frames):
    assert placement_in(frames, BOX).is_identity
    found = placement_in(moved(frames, 3, np.array([5.0, 0, -1])), BOX)
    assert (found.scale, *found.shift) == pytest.approx((1 / 3, -5 / 3, 0, 1 / 3))


def test_without_a_box_in_its_file_a_scene_is_carved_or_stays(tmp_path, frames):
    assert placement_in(dataclasses.replace(frames, aabb=None), BOX / 2).is_identity
    many = dataclasses.replace(read_scene(write_ball(tmp_path / "many", views=24)), aabb=None)
    assert placement_in(many, BOX * 1.1).is_identity
    small = placement_in(many, BOX / 2)
    assert 0.35 / 0.85 < small.scale < 0.35 / 0.6


def test_an_outlier_and_cameras_that_see_nothing_are_told_what_to_do(frames):
    wide = dataclasses.replace(frames, aabb=np.array([[-9.0] * 3, [9.0] * 3]))
    with pytest.raises(ValueError, match=r"scene 'a': expected cameras outside .*, got 6 of 6 within; .*\"aabb\""):
        placement_in(wide, BOX)
    assert placement_in(wide, BOX, unbounded=True).scale == pytest.approx(0.7 / 9)
    away = dataclasses.replace(moved(frames, 1, np.array([50.0, 0, 0])), aabb=None)
    with pytest.raises(ValueError, match=r"'a': expected cameras that see its box .*, got . of 6 that do; .*\"aabb\""):
        placement_in(away, BOX)
    turned = dataclasses.replace(moved(frames, 1, np.array([50.0, 0, 0])), aabb=np.array([[-0.3] * 3, [0.3] * 3]))
    with pytest.raises(ValueError, match=r"that see its box \(-0.3, .*, got . of 6 that do; check its poses"):
        placement_in(turned, BOX)


def test_cameras_within_the_box_of_a_scene_that_stays_are_doubted(frames, bundle):
    """The bundle's box reaches from -0.7 to 0.7, cameras stand at 2.5."""
    shared = read_shared_bundle(str(bundle))
    lost = dataclasses.replace(moved(frames, 1e-3, np.zeros(3)), aabb=None)
    (doubt,) = box_doubts(lost, Placement(), shared)
    assert doubt.startswith("6 of its 6 cameras stand within its box; write the box") and '"aabb"' in doubt
    own_box = dataclasses.replace(moved(frames, 0.2, np.zeros(3)), aabb=np.array([[-0.2] * 3, [0.2] * 3]))
    for fine in (frames, dataclasses.replace(frames, aabb=None), own_box):
        assert box_doubts(fine, Placement(), shared) == []
    assert box_doubts(lost, Placement(2.0), shared) == []


def test_cameras_that_nothing_is_predicted_from(frames):
    fisheye = dataclasses.replace(frames, camera_type=CameraType.FISHEYE)
    fitted, predicted = 4, 0  # steps
    with pytest.raises(ValueError, match="scene 'a', cameras: expected perspective ones.*, got fisheye; fit it"):
        check_cameras(fisheye, predicted)
    check_cameras(fisheye, fitted), check_cameras(frames, predicted)


def test_what_cameras_see_by_hand(frames):
    """From z = 4, with 45 degrees from the axis to a corner, a ball of radius 1 is seen up to x = 4 + sqrt 2 = 5.41."""
    turned = np.eye(4)[:3]
    turned[2, 3] = 4.0
    one = {name: getattr(frames, name)[:1] for name in ("image_paths", "headers", "distortion", "fx", "fy", "cx", "cy")}
    side = frames.widths[0] / np.sqrt(2)
    lens = {**one, "fx": np.array([side]), "fy": np.array([side]), "mask_paths": (), "dynamic_masks": ()}
    camera = dataclasses.replace(frames, camera_to_worlds=turned[None], **lens)
    for x, expected in ((0.0, True), (5.3, True), (5.5, False)):
        centre, half = np.array([x, 0, 0]), 1 / np.sqrt(3)
        assert sees(camera, np.stack([centre - half, centre + half]))[0] == expected
    behind = np.array([[-0.1, -0.1, 8.0], [0.1, 0.1, 8.2]])
    assert not sees(camera, behind)[0]


def test_the_hash_is_of_pictures_and_cameras_and_the_stamp_of_files(balls, tmp_path):
    folder = write_ball(tmp_path / "a")
    first, stamp = source_hash(read_scene(folder)), folder_stamp(folder)
    shutil.copytree(folder, tmp_path / "b", copy_function=shutil.copy)
    assert source_hash(read_scene(tmp_path / "b")) == first
    os.utime(folder / "images" / "0001.png", (1, 1))
    assert source_hash(read_scene(folder)) == first and folder_stamp(folder) != stamp
    shutil.copy(folder / "images" / "0002.png", folder / "images" / "0001.png")
    assert source_hash(read_scene(folder)) != first
    turned = read_scene(tmp_path / "b")
    turned.camera_to_worlds[0, 0, 3] += 0.01
    assert source_hash(turned) != first
    frames, mask = read_scene(folder), folder / "images" / "0001.png"  # which view a mask belongs to counts
    masks = [tuple(mask if view == own else None for view in range(len(frames))) for own in (0, 1)]
    named = [dataclasses.replace(frames, **{kind: own}) for kind in ("mask_paths", "dynamic_masks") for own in masks]
    assert len({source_hash(one) for one in (frames, *named)}) == 5
    shutil.copytree(balls, tmp_path / "copy")  # many scenes are others when one picture is
    before = sources_hash(balls, "ab")
    assert sources_hash(tmp_path / "copy", "ab") == before != sources_hash(balls, "ba")
    shutil.copy(tmp_path / "copy/a/images/0002.png", tmp_path / "copy/a/images/0001.png")
    assert sources_hash(tmp_path / "copy", "ab") != before


def test_the_stamp_sees_what_keeps_its_time_and_no_linked_folder(tmp_path):
    folder = write_ball(tmp_path / "a", mode="RGB")
    path, stamp = folder / "images/0001.png", folder_stamp(folder)
    times = path.stat()
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))  # as cp -p does
    assert folder_stamp(folder) != stamp
    assert lies_within(read_scene(folder), folder)
    (tmp_path / "link").symlink_to(folder)
    assert lies_within(read_scene(tmp_path / "link"), tmp_path / "link")
    (folder / "images").rename(tmp_path / "photos")
    (folder / "images").symlink_to(tmp_path / "photos")
    assert not lies_within(read_scene(folder), folder)


def test_links_to_nothing_and_pipes_end_neither_stamp_nor_hash(tmp_path):
    folder = write_ball(tmp_path / "a")
    (folder / "images" / "gone.png").symlink_to(tmp_path / "nowhere")
    assert len(folder_stamp(folder)) == 16
    frames = read_scene(folder)
    frames.image_paths[1].unlink()
    os.mkfifo(frames.image_paths[1])
    with pytest.raises(ValueError, match="0001.png: expected a regular file, got a pipe"):
        source_hash(frames)
