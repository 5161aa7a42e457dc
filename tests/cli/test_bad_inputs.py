"""What a user meets who gives ns-train something that is not as it should be: one line, and nothing trained.

What is checked is in the table of bad input (`tests/bad_input`); here are the command itself, and what needs a run.
"""

import pytest
from official import checkpoints, fail, train, train_arguments
from tiny import save_kl


def test_an_error_is_one_line_of_the_command(tmp_path):
    output = fail("ns-train", *train_arguments("triplane", tmp_path / "nowhere", tmp_path / "out", 2))
    assert f"Error: {tmp_path / 'nowhere'}: expected a data folder, got nothing there; check --data" in output
    assert "Traceback" not in output and len(output.splitlines()) < 20
    assert checkpoints(tmp_path) == []


def test_resuming_with_another_channel_count(latent_run, two_balls, tmp_path):
    source = ["--pipeline.model.autoencoder.source", save_kl(tmp_path / "other", levels=4, channels=5)]
    resume = ["--load-dir", latent_run.parent / "nerfstudio_models"]
    with pytest.raises(ValueError, match="expected latents of 5 channels, as the autoencoder has, got 4"):
        train(*train_arguments("latent-triplane", two_balls, tmp_path / "out", 20, *source, *resume))
    assert checkpoints(tmp_path) == []
