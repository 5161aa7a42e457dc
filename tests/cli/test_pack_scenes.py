"""`lns pack-scenes`: files to an archive and back, and what it refuses."""

import torch
from official import error_of, lns
from old_files import write_old_scene_file

from latent_nerfstudio.models.shared_bundle import FORMER, SHIPPED
from latent_nerfstudio.scene_files.archive import archive_names, read_archive
from latent_nerfstudio.scene_files.scene_file import SceneFile, read_scene_file, write_scene_file


def write(folder, *names, bundle="ab12"):
    """Scene files of random planes."""
    for seed, name in enumerate(names):
        planes = torch.randn(3, 2, 4, 4, generator=torch.Generator().manual_seed(seed)).half().float()
        write_scene_file(folder / f"{name}.safetensors", SceneFile(name, bundle, planes, None, {"psnr": seed}))
    return folder


def test_files_to_an_archive_and_back(tmp_path, capsys):
    """Each in the precision that it had, which changes no byte."""
    folder, precisions = tmp_path / "fitted" / "scenes", {"b": "float16", "a": "int8", "c": "float32"}
    for name, precision in precisions.items():
        scene = SceneFile(name, "ab12", torch.randn(3, 2, 4, 4), None, {})
        write_scene_file(folder / f"{name}.safetensors", scene, precision)
    lns("pack-scenes", tmp_path / "fitted", "--output", tmp_path / "all.zip")
    assert "3 scene(s)" in capsys.readouterr().out
    assert list(archive_names(tmp_path / "all.zip")) == ["a", "b", "c"]
    lns("pack-scenes", tmp_path / "all.zip", "--output", tmp_path / "back")
    for path in folder.iterdir():
        assert (tmp_path / "back" / path.name).read_bytes() == path.read_bytes()


def test_what_is_packed_does_not_name_the_host(tmp_path):
    scene = SceneFile("a", "ab12", torch.ones(3, 2, 4, 4), None, {"psnr": 1, "worker": "host-7:99"})
    write_old_scene_file(tmp_path / "a.safetensors", scene)
    for output in ("all.zip", "folder"):
        lns("pack-scenes", tmp_path / "a.safetensors", "--output", tmp_path / output)
    (packed,) = read_archive(tmp_path / "all.zip")
    assert packed.facts == read_scene_file(tmp_path / "folder" / "a.safetensors").facts == {"psnr": 1}


def test_some_scenes_in_int8(tmp_path, capsys):
    folder = write(tmp_path, "a", "b", "c")
    pack = ("pack-scenes", folder, "--output", tmp_path / "x.zip", "--precision", "int8", "--scenes")
    assert "such as a" in error_of(capsys, *pack, "aa") and not (tmp_path / "x.zip").exists()
    lns(*pack, "c", "a")
    scenes = {scene.name: scene for scene in read_archive(tmp_path / "x.zip")}
    assert list(scenes) == ["a", "c"]
    exact = read_scene_file(folder / "c.safetensors").micro_planes
    step = exact.abs().amax(dim=(2, 3), keepdim=True) / 127
    difference = (scenes["c"].micro_planes - exact).abs()
    assert difference.max() > 0 and bool((difference <= step * 0.51).all())


def test_scenes_of_a_bundle_with_its_former_scene_encoders_are_packed(tmp_path, capsys):
    """They open with the same bundle; those of another do not."""
    named = SHIPPED[FORMER]
    for index, bundle in enumerate(named):
        write(tmp_path / "scenes", f"s{index}", bundle=bundle)
    lns("pack-scenes", tmp_path / "scenes", "--output", tmp_path / "all.zip")
    assert [scene.bundle_hash for scene in read_archive(tmp_path / "all.zip")] == list(named)
    write(tmp_path / "scenes", "other")
    error = error_of(capsys, "pack-scenes", tmp_path / "scenes", "--output", tmp_path / "none.zip")
    assert "scenes: expected scenes of one bundle, got some of " in error and not (tmp_path / "none.zip").exists()


def test_nothing_is_replaced_unasked(tmp_path, capsys):
    pack = ("pack-scenes", write(tmp_path, "a"), "--output", tmp_path / "all.zip")
    lns(*pack)
    before = (tmp_path / "all.zip").read_bytes()
    assert "expected nothing there" in error_of(capsys, *pack)
    assert (tmp_path / "all.zip").read_bytes() == before
    lns(*pack, "--overwrite")
