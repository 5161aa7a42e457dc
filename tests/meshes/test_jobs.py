"""Finding and checking meshes, naming scenes."""

import threading
from pathlib import Path

import pytest

from latent_nerfstudio.files.locks import locked
from latent_nerfstudio.meshes.goods import KINDS
from latent_nerfstudio.meshes.jobs import demo_jobs, find_meshes, make_scenes, mesh_jobs, scene_names, scene_seed


def jobs_of(files, **options):
    return mesh_jobs(files, Path("out"), 0, views=2, resolution=8, **options)


@pytest.mark.parametrize("name", ["CON.obj", "a:b.obj", "car..obj"])
def test_names_that_are_no_files_elsewhere(tmp_path, name):
    (tmp_path / name).touch()
    with pytest.raises(ValueError, match="scene name: expected"):
        find_meshes(tmp_path)


def test_meshes_are_found_below_and_their_names_as_short_as_keeps_them_different(tmp_path):
    (tmp_path / "deep" / "er").mkdir(parents=True)
    for name in ("deep/er/cup.PLY", "box.obj", "box.mtl", "notes.txt", "._box.obj"):
        (tmp_path / name).touch()
    assert find_meshes(tmp_path) == {"box": tmp_path / "box.obj", "cup": tmp_path / "deep/er/cup.PLY"}
    assert find_meshes(tmp_path / "box.obj") == {"box": tmp_path / "box.obj"}
    paths = [Path(name) for name in ("a/model.obj", "b/model.obj", "c/lamp.glb", "chair.ply", "chair.stl")]
    assert scene_names(paths) == ["a_model", "b_model", "lamp", "chair_ply", "chair_stl"]
    with pytest.raises(ValueError, match="expected a name of its own"):
        scene_names([Path("a/b.obj"), Path("a/B.obj")])


def test_up_axis_follows_the_format_unless_told():
    files = {suffix: Path(f"mesh.{suffix}") for suffix in ("glb", "gltf", "obj", "ply", "stl", "off")}
    usual = {job.folder.name: job.up_axis for job in jobs_of(files)}
    assert usual == {"glb": "y", "gltf": "y", "obj": "y", "ply": "z", "stl": "z", "off": "z"}
    assert {job.up_axis for job in jobs_of(files, up_axis="z")} == {"z"}


def test_each_scene_has_its_own_cameras_whatever_else_is_made():
    two = jobs_of({"a": Path("a.ply"), "b": Path("b.ply")})
    alone = jobs_of({"b": Path("b.ply")})
    assert two[0].seed != two[1].seed
    assert two[1] == alone[0]
    out = Path("out")
    for family in ("cars", "goods", "mixed"):
        assert demo_jobs(out, range(0, 5), 0, 4, 8, family)[3] == demo_jobs(out, range(3, 4), 0, 4, 8, family)[0]
    mixed, cars = (demo_jobs(out, range(9), 0, 4, 8, family) for family in ("mixed", "cars"))
    assert [job == other for job, other in zip(mixed, cars, strict=True)] == [index % 4 == 0 for index in range(9)]
    assert {job.kind for job in demo_jobs(out, range(60), 0, 4, 8, "goods")} == set(KINDS)
    assert len({scene_seed(family, index) for family in range(10) for index in range(50)}) == 500


def test_what_a_killed_run_left_is_removed(tmp_path):
    """A scene half written, one moved away while it was replaced, and one that somebody writes at this moment."""
    for name in (".a.writing/images", ".b.previous/images", ".c.writing/images"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / ".a.lock").touch()
    with locked(tmp_path / ".c.lock", "c"):
        other = threading.Thread(target=make_scenes, args=(demo_jobs(tmp_path, range(1), 0, 2, 8, "cars"), 1))
        other.start()
        other.join()
        assert sorted(path.name for path in tmp_path.iterdir()) == [".c.lock", ".c.writing", "b", "car_0000"]
