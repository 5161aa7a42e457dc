"""`lns import-autoencoder` from its arguments to an autoencoder that the latent space takes."""

import pytest
import torch
from official import error_of
from tiny import save_kl

from latent_nerfstudio.cli.main import main
from latent_nerfstudio.latent_space.autoencoder import AutoencoderConfig


@pytest.fixture
def published(tmp_path):
    """An autoencoder as it is, and as a checkpoint of the published code."""
    autoencoder = AutoencoderConfig(source=str(save_kl(tmp_path / "kl", levels=2))).setup()
    torch.save({"vae": autoencoder.vae.state_dict(), "nerfs": {}, "renderer": {}}, tmp_path / "gvae_latest.pt")
    return autoencoder, tmp_path / "gvae_latest.pt"


def test_the_folder_is_an_autoencoder(published, tmp_path, capsys):
    autoencoder, checkpoint = published
    main(["import-autoencoder", str(checkpoint), "--output", str(tmp_path / "out"), "--norm-num-groups", "2"])
    printed = capsys.readouterr().out
    assert "widths [4, 4], 4 channels, f = 2" in printed
    assert f"ns-train latent-triplane --data FOLDER --pipeline.model.autoencoder.source {tmp_path / 'out'}" in printed
    result = AutoencoderConfig(source=str(tmp_path / "out")).setup()
    images = torch.rand(1, 8, 8, 3)
    with torch.no_grad():
        assert torch.equal(result.encode(images), autoencoder.encode(images))
        assert torch.equal(result.decode(autoencoder.encode(images)), autoencoder.decode(autoencoder.encode(images)))


def test_half_precision_and_a_config(published, tmp_path):
    from safetensors.torch import load_file

    autoencoder, checkpoint = published
    flags = ["--config", str(tmp_path / "kl"), "--precision", "float16"]
    main(["import-autoencoder", str(checkpoint), "--output", str(tmp_path / "out"), *flags])
    (weights,) = (tmp_path / "out").glob("*.safetensors")
    assert {value.dtype for value in load_file(weights).values()} == {torch.float16}
    result = AutoencoderConfig(source=str(tmp_path / "out")).setup()
    images = torch.rand(1, 8, 8, 3)
    with torch.no_grad():
        torch.testing.assert_close(result.encode(images), autoencoder.encode(images), atol=0.01, rtol=0.01)


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
