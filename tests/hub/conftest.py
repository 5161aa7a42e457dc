"""A stand-in of the Hub with a cache of its own, a bundle and scenes."""

import pytest
import torch
from huggingface_hub import constants
from stand_in import serving
from tiny import latent_model_of, save_kl, small_nerf

from latent_nerfstudio.models.bundle_writing import write_shared_bundle
from latent_nerfstudio.models.shared_bundle import read_shared_bundle
from latent_nerfstudio.scene_files.model_scenes import scene_files_of
from latent_nerfstudio.scene_files.scene_file import write_scene_file

NAMES = ("red", "[blue]")


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """The stand-in, which the client takes for the Hub; its cache is empty."""
    with serving() as (url, stand_in):
        own = {"ENDPOINT": url, "HF_HUB_CACHE": str(tmp_path / "cache"), "HF_HUB_DISABLE_XET": True}
        for name, value in own.items():
            monkeypatch.setattr(constants, name, value)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}")
        monkeypatch.setenv("HF_TOKEN", "a-token-of-the-stand-in")
        yield stand_in


@pytest.fixture(scope="session")
def run(tmp_path_factory):
    """Folder of a run with an autoencoder's bundle and two scenes."""
    folder = tmp_path_factory.mktemp("published") / "run"
    source = save_kl(tmp_path_factory.mktemp("published_kl"))
    model = latent_model_of(source, NAMES, nerf=small_nerf(macro_features=3, num_base_planes=2))
    with torch.no_grad():
        model.nerf.field.micro_planes.normal_()
    bundle = read_shared_bundle(str(write_shared_bundle(folder, model, 7, {"family": "balls"}).parent))
    facts = {name: {"psnr": 20.0 + i, "seconds": 1.5, "steps": 30} for i, name in enumerate(NAMES)}
    for scene in scene_files_of(model, bundle.hash, facts):
        write_scene_file(folder / "scenes" / f"{scene.name}.safetensors", scene)
    return folder
