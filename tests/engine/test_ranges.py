"""Numbers of configs that no run can be trained by."""

import math
from typing import Any

import pytest
from nerfstudio.configs.method_configs import all_methods

from latent_nerfstudio.engine.starting import check_ranges, numbers_of
from latent_nerfstudio.engine.trainer import LatentTrainerConfig

METHODS = {name: config for name, config in all_methods.items() if isinstance(config, LatentTrainerConfig)}
IG_AE = METHODS["ig-ae"]


def test_all_methods_are_within_their_ranges_and_numbers_named_as_their_flags():
    assert len(METHODS) == 13
    for config in METHODS.values():
        check_ranges(config)
    numbers = dict(numbers_of(IG_AE))
    assert numbers["pipeline.model.nerf.field.resolution"] == 32
    assert numbers["optimizers.encoder.optimizer.lr"] == 4e-4
    assert "contact_sheet" not in numbers  # which is no number


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("pipeline.crop", 0),
        ("pipeline.rgb_loss_weight", -1.0),
        ("pipeline.joint_training_start", -1),
        ("pipeline.real_images_per_batch", 0),
        ("pipeline.real_variation_weight", math.nan),
        ("pipeline.model.max_render_height", 0),
        ("pipeline.model.nerf.total_variation_weight", -0.1),
        ("pipeline.datamanager.camera_res_scale_factor", 0.0),
        ("optimizers.mlp.optimizer.lr", -1.0),
        ("optimizers.planes.optimizer.lr", math.inf),
        ("optimizers.planes.scheduler.floor", -1.0),
        ("optimizers.encoder.scheduler.alignment_factor", math.nan),
    ],
)
def test_what_is_out_of_range_is_refused_by_its_flag(monkeypatch, path, value):
    *parents, name = path.split(".")
    part: Any = IG_AE
    for parent in parents:
        part = part[parent] if isinstance(part, dict) else getattr(part, parent)
    monkeypatch.setattr(part, name, value)
    with pytest.raises(ValueError) as raised:
        check_ranges(IG_AE)
    assert str(raised.value).startswith(f"{path}: expected a finite number of at least ")
    assert f", got {value}; " in str(raised.value) and str(raised.value).endswith(f" --{path.replace('_', '-')}")


@pytest.mark.parametrize("method", ["ig-ae", "triplane"])
def test_flags_without_effect_are_refused(monkeypatch, method):
    pipeline: Any = METHODS[method].pipeline
    monkeypatch.setattr(pipeline, "align_scenes", False)
    with pytest.raises(ValueError, match="align_scenes: expected True without RGB alignment, got False; "):
        pipeline.check_training()


def test_the_published_settings_train_without_real_images_with_a_word(capsys):
    METHODS["ig-ae-published"].pipeline.check_training()
    said = " ".join(capsys.readouterr().out.split())
    for name, value in (("real_lpips_weight", 0.01), ("real_variation_weight", 1e-05)):
        assert f"{name}: expected 0 without real images, got {value}; give --pipeline.real-images FOLDER" in said
