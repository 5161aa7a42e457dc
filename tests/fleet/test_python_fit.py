"""`lns.fit`: from scenes on disk to scenes that are open."""

import shutil

import pytest
import torch

import latent_nerfstudio as lns

FEW = {"steps": 4, "rays_per_scene": 64, "eval_interval": 10, "latent_cache": "memory"}


def test_scenes_are_fitted_and_open_with_and_without_a_folder(bundle, balls, tmp_path):
    kept = lns.fit(balls, tmp_path / "out", bundle, ["c"], **FEW)
    assert kept.names == ["c"] and kept.facts["c"]["steps"] == 4 and kept.facts["c"]["psnr"] > 0
    free = lns.fit(balls, bundle=bundle, scenes="c", **FEW)
    assert free.source == str(balls) and torch.equal(free.planes("c"), kept.planes("c"))
    assert free.save(tmp_path / "saved").is_dir() and lns.load(tmp_path / "saved", bundle).names == ["c"]


def test_what_fails_is_named_and_the_others_are_kept(bundle, balls, tmp_path):
    shutil.copytree(balls, tmp_path / "scenes")
    (tmp_path / "scenes" / "b" / "transforms.json").write_text("{")
    with pytest.raises(ValueError, match=r"fit: expected 3 scenes .*, got b: .*transforms\.json.*; mend"):
        lns.fit(tmp_path / "scenes", tmp_path / "out", bundle, **FEW)
    assert lns.load(tmp_path / "out" / "scenes", bundle).names == ["a", "c"]
    for wrong, message in (({"steps": -1}, "steps: expected at"), ({"scenes": ["z"]}, "scenes: expected scenes")):
        with pytest.raises(ValueError, match=message):
            lns.fit(balls, tmp_path / "none", bundle, **{**FEW, **wrong})
    assert not (tmp_path / "none").exists()
    with pytest.raises(ValueError, match="output: expected another folder than that of the photos"):
        lns.fit(balls, balls / ".." / balls.name, bundle, **FEW)
