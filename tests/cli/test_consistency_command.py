"""`lns consistency` from its arguments to the table and the file."""

import json

import pytest
from tiny import save_kl

from latent_nerfstudio.cli.consistency import without_nan
from latent_nerfstudio.cli.main import main
from latent_nerfstudio.engine import consistency


def test_a_table_and_all_numbers(balls, tmp_path, capsys):
    output = tmp_path / "new" / "numbers.json"
    save_kl(tmp_path / "models" / "vae")
    sources = ["identity", str(tmp_path / "models")]
    few = ["--steps", "3", "--rays-per-scene", "32", "--max-scenes", "2", "--subfolder", "vae"]
    main(["consistency", str(balls), "--autoencoder", *sources, *few, "--output", str(output)])
    printed = capsys.readouterr().out
    assert "identity" in printed and "exact" in printed and f"Numbers: {output}" in printed
    content = json.loads(output.read_text())
    assert content["settings"]["scenes"] == ["a", "b"] and content["settings"]["steps"] == 3
    identity, other = content["autoencoders"]
    assert (identity["source"], other["source"]) == tuple(sources)
    assert (other["downscale_factor"], other["num_channels"], other["resolution"]) == (4, 4, 16)
    assert sorted(identity["scenes"]) == ["a", "b"]
    assert other["together"]["residual_object"] > 0 and identity["together"]["autoencoder_psnr"] == 100
    assert [path.name for path in output.parent.iterdir()] == ["numbers.json"]


def test_numbers_that_cannot_be_told_are_null():
    assert without_nan([("a", float("nan")), ("b", 1.0), ("c", "x")]) == {"a": None, "b": 1.0, "c": "x"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["OUT/none"], "expected a folder of scenes, got nothing there; check the path"),
        (["OUT"], "expected a scene with"),
        (["DATA", "--steps", "0"], "steps: expected at least 1, got 0"),
        (["DATA", "--max-scenes", "0"], "max_scenes: expected at least 1, got 0"),
        (["DATA", "--output", "OUT/table.md"], "output: expected a .json file"),
        (["DATA", "--autoencoder", "identity", "OUT/vae"], "nothing there; check the path"),
        (["DATA", "--autoencoder", "OUT"], "without a config.json"),
        (["DATA", "--autoencoder"], "autoencoder: expected at least one, got none"),
        (["DATA", "--autoencoder", "F64"], "expected pictures of at least 64 pixels a side"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_fitted(
    arguments, message, balls, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(consistency, "measure_consistency", None)
    names = {"DATA": str(balls), "OUT": str(tmp_path)}
    if "F64" in arguments:
        names["F64"] = str(save_kl(tmp_path / "large", levels=7))
    for name, value in names.items():
        arguments = [argument.replace(name, value) for argument in arguments]
    with pytest.raises(SystemExit, match="1"):
        main(["consistency", *arguments])
    error = capsys.readouterr().err
    assert error.startswith("Error: ") and message in error
