"""`lns info` and `lns cache`."""

import os
import time

import pytest

from latent_nerfstudio.cli.main import main


def said(capsys, *arguments):
    main(list(arguments))
    return capsys.readouterr().out


def test_what_is_said_of_autoencoders_and_bundles(kl, capsys):
    assert "downscale_factor=4, num_channels=4" in said(capsys, "info", str(kl))
    text = said(capsys, "info", "bundled-cars")
    assert "learned from:   128 scenes" in text and "b42f9511475b" in text
    with pytest.raises(SystemExit, match="1"):
        main(["info", "nowhere"])
    assert "nowhere: expected a run, scenes, a bundle" in capsys.readouterr().err


def test_the_cache_loses_what_is_old_and_nothing_else(tmp_path, capsys):
    old, new, other = (tmp_path / name for name in ("hash/0a/old", "hash/0b/new", "photos/holiday.png"))
    for path in (old, new, other):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"1234")
    os.utime(old, (time.time() - 86400 * 40,) * 2)
    assert "2 files, 8 bytes" in said(capsys, "cache", "--location", str(tmp_path))
    assert "Removed 1 files, 4 bytes" in said(capsys, "cache", "--location", str(tmp_path), "--prune", "30")
    assert (old.exists(), new.exists(), other.exists()) == (False, True, True)
    for arguments in (["--location", "memory"], ["--prune", "-1"]):
        with pytest.raises(SystemExit, match="1"):
            main(["cache", *arguments])
        assert ": expected " in capsys.readouterr().err


def test_facts_hold_what_ns_eval_wrote(tmp_path):
    from latent_nerfstudio.api.loading import evaluated

    path = tmp_path / "eval.json"
    assert evaluated(path, ["a"]) == {}
    path.write_text('{"results": {"psnr": 30.5, "a/psnr": 31.0, "a/ssim": 0.9, "c/psnr": 1, "b/lpips": 0.1}}')
    assert evaluated(path, ["a", "b"]) == {"a": {"psnr": 31.0, "ssim": 0.9}, "b": {"lpips": 0.1}}
    path.write_text('{"results": {"psnr": 30.5, "num_rays_per_sec": 2.0}}')
    assert evaluated(path, ["alone"]) == {"alone": {"psnr": 30.5}}
