"""`lns import-autoencoder` from its arguments to an autoencoder that the latent space takes."""

import pytest
import torch
from official import error_of, lns
from safetensors.torch import load_file
from tiny import save_kl

from latent_nerfstudio.latent_space.autoencoder import AutoencoderConfig


@pytest.fixture
def published(tmp_path):
    """An autoencoder as it is, and as a checkpoint of the published code."""
    autoencoder = AutoencoderConfig(source=str(save_kl(tmp_path / "kl", levels=2))).setup()
    torch.save({"vae": autoencoder.vae.state_dict(), "nerfs": {}, "renderer": {}}, tmp_path / "gvae_latest.pt")
    return autoencoder, tmp_path / "gvae_latest.pt"


@torch.no_grad()
def test_the_folder_is_an_autoencoder_in_half_precision_too(published, tmp_path, capsys):
    autoencoder, checkpoint = published
    lns("import-autoencoder", checkpoint, "--output", tmp_path / "out", "--norm-num-groups", "2")
    printed = capsys.readouterr().out
    assert "widths [4, 4], 4 channels, f = 2" in printed
    assert f"ns-train latent-triplane --data FOLDER --pipeline.model.autoencoder.source {tmp_path / 'out'}" in printed
    images = torch.rand(1, 8, 8, 3)
    raw, result = autoencoder.encode(images), AutoencoderConfig(source=str(tmp_path / "out")).setup()
    assert torch.equal(result.encode(images), raw) and torch.equal(result.decode(raw), autoencoder.decode(raw))
    flags = ["--config", tmp_path / "kl", "--precision", "float16"]
    lns("import-autoencoder", checkpoint, "--output", tmp_path / "half", *flags)
    (weights,) = (tmp_path / "half").glob("*.safetensors")
    assert {value.dtype for value in load_file(weights).values()} == {torch.float16}
    half = AutoencoderConfig(source=str(tmp_path / "half")).setup()
    torch.testing.assert_close(half.encode(images), raw, atol=0.01, rtol=0.01)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["OUT/gvae_latest.pt", "--output", "OUT/kl"], "pass --overwrite"),
        (["OUT/gvae_latest.pt", "--output", "OUT", "--overwrite"], "got gvae_latest.pt; move it away"),
        (["OUT/gvae_latest.pt", "--output", "OUT/new"], "--norm-num-groups"),
        (["OUT/gvae_latest.pt", "--output", "OUT/new", "--norm-num-groups", "0"], "norm_num_groups: expected at least"),
        (["OUT/gvae_latest.pt", "--output", "OUT/new", "--scaling-factor", "0"], "scaling_factor: expected a positive"),
        (["OUT/gvae_latest.pt", "--output", "OUT/new", "--config", "OUT"], "config.json: expected a file"),
    ],
)
def test_errors_are_one_line(arguments, message, published, tmp_path, capsys):
    error = error_of(capsys, "import-autoencoder", *(argument.replace("OUT", str(tmp_path)) for argument in arguments))
    assert error.startswith("Error: ") and message in error
    assert not (tmp_path / "new").exists()
