"""`lns render-meshes` from the command line's dataclass to the files."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import trimesh
import tyro
from PIL import Image
from scene_folders import edited
from trimesh.visual import TextureVisuals

from latent_nerfstudio.cli.making import RenderMeshes


def run(folder: Path, out: Path, *flags: str) -> None:
    options = ["--views", "3", "--size", "16", "--workers", "1", *flags]
    tyro.cli(RenderMeshes, args=[str(folder), "--output", str(out), *options]).main()


@pytest.fixture
def meshes(tmp_path):
    """A red tower away from the origin, y up, as glb and, z up, as ply in a subfolder."""
    (tmp_path / "meshes" / "sub").mkdir(parents=True)
    for name, extents in {"glb_tower.glb": (2.0, 10.0, 4.0), "sub/ply_tower.ply": (2.0, 4.0, 10.0)}.items():
        box = trimesh.creation.box(extents)
        box.apply_translation([3.0, 4.0, 5.0])
        box.visual.face_colors = [255, 0, 0, 255]
        box.export(tmp_path / "meshes" / name)
    return tmp_path / "meshes"


def test_each_mesh_becomes_an_upright_scene_that_tells_its_size(meshes, tmp_path):
    """The corner 1, 5, 2 (or 1, 2, 5) from the mesh's middle is that of the box without its margin, by what the file
    says; its longest side is one."""
    run(meshes, tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["glb_tower", "ply_tower"]
    for name, corner in (("glb_tower", [4.0, 9.0, 3.0, 1.0]), ("ply_tower", [4.0, 6.0, 10.0, 1.0])):
        meta = json.loads((tmp_path / "out" / name / "transforms.json").read_text())
        np.testing.assert_allclose(meta["aabb"], np.outer([-1, 1], [0.104, 0.208, 0.52]), atol=1e-6)
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


def change_entry(path: Path) -> None:
    with edited(path) as meta:
        del meta["made_from"]


CHANGES = {
    "other options": (lambda folder, out: None, ["--shading", "flat"]),
    "another mesh": (lambda folder, out: (folder / "quad.obj").open("a").write("v 2 2 2\n"), []),
    "another texture": (lambda folder, out: Image.new("RGB", (4, 4), "blue").save(next(folder.glob("*.png"))), []),
    "a picture less": (lambda folder, out: (out / "quad" / "images" / "0001.png").unlink(), []),
    "a scene of before": (lambda folder, out: change_entry(out / "quad" / "transforms.json"), []),
}


def test_what_is_there_of_something_else_is_only_replaced_when_asked(tmp_path):
    folder, out = tmp_path / "meshes", tmp_path / "out"
    folder.mkdir()
    box = trimesh.creation.box((1, 1, 1))
    box.visual = TextureVisuals(uv=np.zeros((8, 2)), image=Image.new("RGB", (4, 4), "red"))
    box.export(folder / "quad.obj")
    flags = []
    for change, more in CHANGES.values():
        run(folder, out, *flags, "--overwrite")
        run(folder, out, *flags)
        change(folder, out)
        flags += more
        with pytest.raises(FileExistsError, match=r"quad: expected nothing there, or the same scene .*; pass --overw"):
            run(folder, out, *flags)


def stamps(out: Path) -> dict[str, int]:
    return {path.name: path.stat().st_ino for path in out.iterdir()}


def test_the_same_call_goes_on(meshes, tmp_path, capsys):
    """What is there stays; what is missing, broken before or new is made."""
    (meshes / "chair.obj").write_text("v 0 0 0\n")
    with pytest.raises(ValueError, match="got 1 of 3 that do not"):
        run(meshes, tmp_path / "out")
    before = stamps(tmp_path / "out")
    shutil.rmtree(tmp_path / "out" / "ply_tower")
    (meshes / "chair.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n")
    run(meshes, tmp_path / "out")
    after = stamps(tmp_path / "out")
    assert set(after) == {"glb_tower", "ply_tower", "chair"} and after["glb_tower"] == before["glb_tower"]
    assert "Wrote 2 scenes of 3 views to" in (told := capsys.readouterr().out) and "; 1 were there already" in told
    run(meshes, tmp_path / "out")
    assert stamps(tmp_path / "out") == after
    assert "Wrote 0 scenes" in capsys.readouterr().out
