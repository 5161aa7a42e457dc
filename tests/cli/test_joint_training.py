"""The methods of joint training: their settings, and ig-ae from ns-train over ns-eval to new scenes on its bundle."""

import json
import math

import pytest
from official import checkpoints, evaluated, train, train_arguments, train_config
from tiny import joint_pipeline_of, small_nerf

from latent_nerfstudio.engine.trainer import LatentTrainer
from latent_nerfstudio.method_configs.igae import fused_planes, ig_ae, ig_ae_published, three_da_ae
from latent_nerfstudio.models.shared_bundle import read_shared_bundle
from latent_nerfstudio.pipelines.igae_pipeline import IGAEPipelineConfig

METHODS = {"ig-ae": ig_ae, "ig-ae-published": ig_ae_published, "3da-ae": three_da_ae, "fused-planes": fused_planes}
PUBLISHED = sorted(set(METHODS) - {"ig-ae"})


@pytest.mark.parametrize("method", ["ig-ae", "fused-planes"])
def test_nerfstudio_parses_every_method(method, balls):
    config = train_config(method, "--data", balls, "--pipeline.latent-loss-weight", 0.5, "--pipeline.crop", "None")
    assert config.method_name == method and config.write_bundle
    pipeline = config.pipeline
    assert isinstance(pipeline, IGAEPipelineConfig) and config._target is LatentTrainer
    assert (pipeline.latent_loss_weight, pipeline.crop, str(config.data)) == (0.5, None, str(balls))
    assert METHODS[method].config.pipeline.latent_loss_weight != 0.5


@pytest.mark.parametrize("method", sorted(METHODS))
def test_optimizers_cover_the_groups_of_the_pipeline(method, balls, kl):
    official = METHODS[method].config
    field = official.pipeline.model.nerf.field
    planes = {"macro_features": min(2, field.macro_features), "num_base_planes": min(2, field.num_base_planes)}
    pipeline = joint_pipeline_of(balls, kl, nerf=small_nerf(**planes))
    assert set(pipeline.get_param_groups()) == set(official.optimizers)
    clipped = {name for name, group in official.optimizers.items() if group["optimizer"].max_norm is not None}
    assert clipped == {"encoder", "decoder"}


def rates_of(config):
    """Learning rates at the beginning of the warm-up and of joint training."""
    groups = config.optimizers.items()
    rates = {name: (g["optimizer"].lr, g["optimizer"].lr * g["scheduler"].alignment_factor) for name, g in groups}
    return {name: pytest.approx(rate) for name, rate in rates.items()}


@pytest.mark.parametrize("method", PUBLISHED)
def test_published_weights_by_hand(method):
    """L_latent + L_RGB + 0.1 L_ae on pictures in [-1, 1], where squared errors are four times ours."""
    pipeline = METHODS[method].config.pipeline
    assert (pipeline.latent_loss_weight, pipeline.rgb_loss_weight) == (1.0, 4.0)
    assert pipeline.autoencoder_loss_weight == pytest.approx(0.4)
    assert not pipeline.scale_free_latent_loss and pipeline.stop_gradient == "none" and pipeline.crop is None
    assert pipeline.model.normalizer == "tanh"
    nerf, images = pipeline.model.nerf, pipeline.datamanager.images_per_batch
    assert images == (12 if method == "ig-ae-published" else 32) == pipeline.datamanager.scenes_per_batch
    assert (nerf.num_samples, nerf.num_importance_samples, nerf.field.resolution) == (48, 48, 64)
    assert nerf.total_variation_weight == pytest.approx(3.6288 if images == 12 else 9.6768)
    is_micro = method == "ig-ae-published"
    features = (nerf.field.micro_features, nerf.field.macro_features, nerf.field.num_base_planes)
    assert features == ((32, 0, 0) if is_micro else (10, 22, 50))


def test_published_rates_and_real_images_by_hand():
    shared = {"shared_planes": (1e-2, 1e-2), "decoder": (1e-4, 1e-4), "encoder": (1e-4, 1e-4)}
    assert rates_of(three_da_ae.config) == {"planes": (1e-2, 1e-3), "mlp": (1e-2, 1e-3), **shared}
    assert rates_of(fused_planes.config) == {"planes": (1e-2, 1e-4), "mlp": (1e-2, 1e-4), **shared}
    parts = {"decoder": (5e-5, 5e-5), "encoder": (5e-5, 5e-5)}
    assert rates_of(ig_ae_published.config) == {"planes": (1e-3, 1e-4), "mlp": (1e-3, 1e-4), **parts}
    floors = {name: METHODS[name].config.optimizers["planes"]["scheduler"].floor for name in PUBLISHED}
    assert floors == {"3da-ae": 1.0, "fused-planes": 0.09, "ig-ae-published": 0.4}
    pipeline = ig_ae_published.config.pipeline
    assert pipeline.real_loss_weight == pytest.approx(0.4) and pipeline.real_images_per_batch == 3
    assert (pipeline.real_lpips_weight, pipeline.real_variation_weight) == (0.01, 1e-5)
    assert pipeline.real_images is None


def test_methods_share_no_optimizers():
    """A flag of one method must not reach another."""
    groups = [group for method in METHODS.values() for group in method.config.optimizers.values()]
    assert len({id(group["optimizer"]) for group in groups}) == len({id(group["scheduler"]) for group in groups}) == 19


def test_from_joint_training_over_evaluation_to_new_scenes(two_balls, random_autoencoder, tmp_path):
    joint = ["--pipeline.joint-training-start", 4, "--pipeline.crop", 16, "--pipeline.whole-pictures-start", 7]
    batch = ["--pipeline.datamanager.images-per-batch", 4, "--pipeline.datamanager.scenes-per-batch", 2]
    source = ["--pipeline.model.autoencoder.source", random_autoencoder, "--steps-per-pictures", 6]
    run = train(*train_arguments("ig-ae", two_balls, tmp_path, 9, *joint, *batch, *source))
    folder = run.parent
    assert checkpoints(folder) == ["step-000000008.ckpt"]
    assert [path.name for path in (folder / "pictures").iterdir()] == ["step-000000006.png"]
    assert json.loads((folder / "metrics.jsonl").read_text())["step"] == 6

    evaluation = evaluated(run, tmp_path / "eval.json")
    assert evaluation["method_name"] == "ig-ae"
    for metric in ("psnr", "autoencoder_psnr", "latent_psnr"):
        assert math.isfinite(evaluation["results"][metric])

    second = ["--pipeline.model.shared-bundle", folder, "--pipeline.rgb-alignment-start", 1]
    started = train(*train_arguments("latent-triplane", two_balls / "red", tmp_path / "second", 2, *second))
    assert json.loads((started.parent / "training.json").read_text())["steps"] == 2
    assert read_shared_bundle(str(run)).step == 8
