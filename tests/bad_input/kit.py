"""Small whole things of every kind, made once; cases copy and break them."""

import json
import re
import shutil
from pathlib import Path
from typing import Optional

from scene_folders import write_blender, write_srn
from tiny import camera_of, camera_path_of, save_kl, write_ball

SIZE = 8
"""Sides of pictures, pixels."""


def make_kit(folder: Path) -> Path:
    """Makes everything that a case may copy, by name, in a folder."""
    write_ball(folder / "scene", views=3, width=SIZE, height=SIZE)
    write_ball(folder / "scenes" / "a", views=3, width=SIZE, height=SIZE)
    write_ball(folder / "scenes" / "b", views=3, width=SIZE, height=SIZE, seed=1)
    write_blender(folder / "blender", train=3, test=1)
    write_srn(folder / "srn", size=SIZE)
    save_kl(folder / "vae", levels=3)
    make_learned(folder)
    (folder / "meshes").mkdir()
    (folder / "meshes" / "box.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nv 0 0 1\nf 1 2 3\nf 1 2 4\n")
    (folder / "path.json").write_text(json.dumps(camera_path_of(camera_of(SIZE, SIZE), SIZE, SIZE)))
    return folder


def make_learned(folder: Path) -> None:
    """`bundle/` with a shared bundle that has a decoder of its own, `files/` with the scenes a and b, `files.zip`,
    `other/` with a bundle of other planes and `other.safetensors` of it, `latents.safetensors`, and `run/`."""
    import torch
    from tiny import latent_model_of, small_nerf

    from latent_nerfstudio.models.bundle_writing import write_shared_bundle
    from latent_nerfstudio.models.shared_bundle import read_shared_bundle
    from latent_nerfstudio.scene_files.archive import write_archive
    from latent_nerfstudio.scene_files.model_scenes import scene_files_of
    from latent_nerfstudio.scene_files.scene_file import read_scene_file, write_scene_file

    nerf = small_nerf(macro_features=3, num_base_planes=2)
    model = latent_model_of(folder / "vae", ("a", "b"), nerf=nerf)
    with torch.no_grad():
        for parameter in model.latent_space.autoencoder.decoder_parameters():
            parameter.add_(0.01)
    bundle = read_shared_bundle(str(write_shared_bundle(folder / "bundle", model, 3, {})))
    camera = {"height": SIZE, "width": SIZE, "fx": 9.0, "fy": 9.0, "radius": 2.5}
    for scene in scene_files_of(model, bundle.hash, {name: {"cameras": camera} for name in "ab"}):
        write_scene_file(folder / "files" / f"{scene.name}.safetensors", scene)
    write_archive(folder / "files.zip", map(read_scene_file, sorted((folder / "files").iterdir())))
    other = latent_model_of("identity", ("c",), nerf=small_nerf(resolution=4))
    hash_of_other = read_shared_bundle(str(write_shared_bundle(folder / "other", other, 3, {}))).hash
    write_scene_file(folder / "other.safetensors", next(scene_files_of(other, hash_of_other)))
    make_run(folder)


def make_run(folder: Path) -> None:
    """`run/`, a run of the scenes, and `latents.safetensors`."""
    from latent_nerfstudio.cli.main import main

    bundle = ["--bundle", str(folder / "bundle")]
    files = str(folder / "files")
    main(["import-scenes", files, *bundle, "--output", str(folder / "imported"), "--views", "2"])
    shutil.move(folder / "imported" / "latent-triplane" / "imported", folder / "run")
    shutil.rmtree(folder / "imported")
    latents = str(folder / "latents.safetensors")
    main(["render-latents", files, *bundle, "--output", latents, "--views", "2", "--size", str(SIZE)])


def copies(folder: Path, kit: Path, command: str, names: Optional[str] = None) -> None:
    """Copies things of the kit: those that a command names in FOLDER, or others, separated by blanks."""
    for name in set(re.findall(r"FOLDER/([\w.]+)", command)) if names is None else names.split():
        place = kit / name
        if names is None and not place.exists():
            continue
        shutil.copytree(place, folder / name) if place.is_dir() else shutil.copy(place, folder / name)
