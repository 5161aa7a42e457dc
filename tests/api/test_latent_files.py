"""Files of raw latents: written, read, edited by others, and hostile ones."""

import json

import pytest
import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from nerfstudio.cameras.cameras import CameraType
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from tiny import camera_of, latent_model_of

from latent_nerfstudio.api.codec import load_autoencoder
from latent_nerfstudio.api.latent_files import LATENTS_FORMAT, LatentFile, read_latents, render_latents, write_latents
from latent_nerfstudio.api.scenes import Scenes
from latent_nerfstudio.cli.latents import DecodeLatents, follow_enlarge
from latent_nerfstudio.pictures import read_over_white


@pytest.fixture
def scenes(kl):
    return Scenes(latent_model_of(kl), "here")


def test_what_is_written_diffusers_decodes_and_comes_back(scenes, kl, tmp_path):
    cameras = camera_of(30, 22, count=3)
    path = tmp_path / "latents.safetensors"
    assert write_latents(path, render_latents(scenes, "b", cameras)) == path.stat().st_size
    stored = load_file(path)
    vae = AutoencoderKL.from_pretrained(kl)
    with torch.no_grad():
        decoded = vae.decode(stored["latents"]).sample.permute(0, 2, 3, 1) / 2 + 0.5
    torch.testing.assert_close(decoded.clamp(0, 1)[:, :22, :30], scenes.render("b", cameras).rgb)
    torch.testing.assert_close(scenes.decode(stored["latents"]), decoded.clamp(0, 1))

    file = read_latents(path)
    assert (file.height, file.width, file.scene, file.source) == (22, 30, "b", "here")
    factors = {"downscale_factor": 4, "scaling_factor": vae.config.scaling_factor, "shift_factor": 0.0}
    assert file.autoencoder == {"encoder_hash": scenes.codec.autoencoder.encoder_hash(), **factors}
    assert file.cameras is not None and torch.equal(file.cameras.camera_to_worlds, cameras.camera_to_worlds)
    for name in ("fx", "fy", "cx", "cy"):
        torch.testing.assert_close(getattr(file.cameras, name), getattr(cameras, name))
    assert file.box is not None and file.box.tolist() == [[-1.0] * 3, [1.0] * 3]
    with safe_open(path, "pt") as stream:
        assert json.loads(stream.metadata()["latents"])["format"] == LATENTS_FORMAT


def test_latents_of_enlarged_pictures_are_decoded_to_pictures_of_their_size(scenes, kl, tmp_path):
    """By the autoencoder alone, which knows of no pictures that are enlarged."""
    scenes.model.latent_space.autoencoder.enlarge = 2
    cameras, path = camera_of(9, 7), tmp_path / "latents.safetensors"
    write_latents(path, render_latents(scenes, "b", cameras))
    assert read_latents(path).autoencoder["downscale_factor"] == 2
    DecodeLatents(path, str(kl), tmp_path / "decoded").main()
    stored = read_over_white(tmp_path / "decoded/images/0000.png")
    expected = scenes.render("b", cameras).rgb[0]
    torch.testing.assert_close(torch.tensor(stored) / 255, expected, atol=0.51 / 255, rtol=0)


@pytest.mark.parametrize("factor", [3, 0, -2, 8, True, 2.0, "2", None])
def test_factors_that_are_none_of_an_autoencoder_are_not_believed(kl, factor):
    codec = load_autoencoder(str(kl), device="cpu")
    follow_enlarge(LatentFile(torch.zeros(1, 4, 2, 2), autoencoder={"downscale_factor": factor}), codec)
    assert codec.downscale_factor == 4


def test_cameras_are_those_of_the_size_that_latents_have_and_others_left_out(kl, tmp_path, scenes):
    scenes = Scenes(latent_model_of(kl, max_render_height=16), "here")
    file = render_latents(scenes, "a", camera_of(32, 32, focal=40.0))
    assert (file.height, file.width) == (16, 16) and file.cameras is not None
    assert float(file.cameras.fx[0]) == 20.0 and float(file.cameras.cx[0]) == pytest.approx(16.4 / 2)
    cameras = camera_of(16, 16, count=2)
    cameras.camera_type = torch.full_like(cameras.camera_type, CameraType.FISHEYE.value)
    assert render_latents(scenes, "a", cameras).cameras is None


def test_half_precision_holds_what_it_can_and_latents_alone_are_enough(scenes, tmp_path):
    file = render_latents(scenes, "a", camera_of(16, 16))
    write_latents(tmp_path / "half.safetensors", file, "float16")
    assert load_file(tmp_path / "half.safetensors")["latents"].dtype == torch.float16
    torch.testing.assert_close(read_latents(tmp_path / "half.safetensors").latents, file.latents, atol=5e-3, rtol=1e-3)
    with pytest.raises(ValueError, match=r"big\.safetensors: expected latents within float16, got larger ones"):
        write_latents(tmp_path / "big.safetensors", LatentFile(torch.full((1, 4, 2, 2), 1e5)), "float16")
    assert not (tmp_path / "big.safetensors").exists()
    latents = torch.randn(2, 4, 3, 5).to(torch.bfloat16)
    save_file({"latents": latents}, tmp_path / "bare.safetensors")
    file = read_latents(tmp_path / "bare.safetensors")
    assert torch.equal(file.latents, latents.float()) and file.cameras is None and file.height is None


SAID = {"format": LATENTS_FORMAT, "height": 8, "width": 8, "scene": "a", "source": "", "autoencoder": {}, "box": None}


def said(**changes):
    return {"latents": json.dumps({**SAID, **changes})}


GOOD = {"latents": torch.zeros(2, 4, 2, 2)}
POSES = {"camera_to_worlds": torch.zeros(2, 3, 4), "intrinsics": torch.ones(2, 4)}


@pytest.mark.parametrize(
    ("tensors", "metadata", "expected"),
    [
        ({"latents": torch.zeros(4, 2, 2)}, None, r"got \[4, 2, 2\]"),
        ({"latents": torch.zeros(0, 4, 2, 2)}, None, r"got \[0, 4, 2, 2\]"),
        ({"latents": torch.zeros(1, 2000, 2, 2)}, None, "2000"),
        (GOOD, said(height=1 << 40), "others for height"),
        (GOOD, said(height=True), "others for height"),
        (GOOD, said(height="x"), "others for height"),
        (GOOD, said(scene=3), "others for scene"),
        (GOOD, said(box=[[0, 0, 0], [0, 0, 0]]), "others for box"),
        (GOOD, said(box=[[0, 0], "x"]), "others for box"),
        (GOOD, said(box=[[0, 0, 0], [1, 1, 10**400]]), "a whole number of 401 digits"),
        ({**GOOD, **POSES, "intrinsics": torch.zeros(2, 4)}, said(), "poses and intrinsics of 2 pictures"),
        ({**GOOD, **POSES, "camera_to_worlds": torch.zeros(9, 3, 4)}, said(), r"got \[9, 3, 4\]"),
        ({**GOOD, **POSES}, said(height=None), "poses and intrinsics of 2 pictures"),
    ],
)
def test_files_that_are_not_as_they_should_be(tmp_path, tensors, metadata, expected):
    path = tmp_path / "x.safetensors"
    save_file(tensors, path, metadata)
    with pytest.raises(ValueError, match=rf"x\.safetensors: expected .*{expected}|{expected}"):
        read_latents(path)
