"""`lns render-meshes` from the command line's dataclass to the files."""

import json
from pathlib import Path

import numpy as np
import pytest
import trimesh
import tyro
from PIL import Image

from latent_nerfstudio.cli.making import RenderMeshes


def run(folder: Path, out: Path, *flags: str) -> None:
    options = ["--views", "3", "--size", "16", "--workers", "1", *flags]
    tyro.cli(RenderMeshes, args=[str(folder), "--output", str(out), *options]).main()


@pytest.fixture
def meshes(tmp_path):
    """A red tower, y up, as glb and, z up, as ply in a subfolder."""
    (tmp_path / "meshes" / "sub").mkdir(parents=True)
    for name, extents in {"glb_tower.glb": (2.0, 10.0, 4.0), "sub/ply_tower.ply": (2.0, 4.0, 10.0)}.items():
        box = trimesh.creation.box(extents)
        box.visual.face_colors = [255, 0, 0, 255]
        box.export(tmp_path / "meshes" / name)
    return tmp_path / "meshes"


def test_each_mesh_becomes_an_upright_scene_that_tells_its_size(meshes, tmp_path):
    """The corner of the mesh, 1, 5, 2 (or 1, 2, 5), is that of the box without its margin, by what the file says."""
    run(meshes, tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["glb_tower", "ply_tower"]
    for name, corner in (("glb_tower", [1.0, 5.0, -2.0, 1.0]), ("ply_tower", [1.0, 2.0, 5.0, 1.0])):
        meta = json.loads((tmp_path / "out" / name / "transforms.json").read_text())
        np.testing.assert_allclose(meta["aabb"][1], [0.104, 0.208, 0.52], atol=1e-6)
        placed = meta["applied_scale"] * np.array(meta["applied_transform"]) @ corner
        np.testing.assert_allclose(placed, np.array(meta["aabb"][1]) / 1.04)
        assert meta["applied_scale"] == pytest.approx(0.1)
        with Image.open(tmp_path / "out" / name / "images" / "0001.png") as image:
            red, green, blue, alpha = np.asarray(image)[8, 8]
        assert (green, blue, alpha) == (0, 0, 255)
        assert red > 100


def test_up_axis_can_be_told(meshes, tmp_path):
    run(meshes / "glb_tower.glb", tmp_path / "out", "--up-axis", "z")
    meta = json.loads((tmp_path / "out" / "glb_tower" / "transforms.json").read_text())
    np.testing.assert_allclose(meta["aabb"][1], [0.104, 0.52, 0.208], atol=1e-6)


def test_of_a_broken_mesh_the_others_are_made(meshes, tmp_path, capsys):
    (meshes / "broken.obj").write_text("v 0 0 0\n")
    with pytest.raises(ValueError, match=r"meshes: expected .* render, got 1 of 3 .*broken\.obj: .*; repair"):
        run(meshes, tmp_path / "out")
    assert "Wrote 2 scenes" in capsys.readouterr().out
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["glb_tower", "ply_tower"]


def test_a_folder_in_which_nothing_renders(tmp_path):
    (tmp_path / "meshes").mkdir()
    (tmp_path / "meshes" / "broken.obj").write_text("v 0 0 0\n")
    with pytest.raises(ValueError, match=r"broken\.obj: expected a mesh with faces"):
        run(tmp_path / "meshes", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_scenes_are_only_replaced_when_asked(meshes, tmp_path):
    run(meshes, tmp_path / "out")
    with pytest.raises(FileExistsError, match="pass --overwrite"):
        run(meshes, tmp_path / "out")
    run(meshes, tmp_path / "out", "--overwrite", "--shading", "flat")
