"""NaN put into a latent, a term of the loss, or a parameter: who stops, what is said, what is kept."""

import pytest
import torch
from nerfstudio.configs.base_config import ViewerConfig
from nerfstudio.engine.optimizers import AdamOptimizerConfig
from tiny import datamanager_of, latent_model_of, pipeline_config_of, pipeline_of, small_nerf

from latent_nerfstudio.data import latent_datamanager
from latent_nerfstudio.engine.checkpoints import damage
from latent_nerfstudio.engine.schedulers import StagedSchedulerConfig
from latent_nerfstudio.engine.trainer import LatentTrainerConfig

SHARED = {"macro_features": 3, "num_base_planes": 2}


@pytest.mark.parametrize("number", [torch.nan, torch.inf])
def test_a_latent_that_is_no_number_names_its_picture(balls, kl, number, monkeypatch):
    space = latent_model_of(kl).latent_space
    manager = datamanager_of(balls)
    original = latent_datamanager.scene_latents

    def spoiled(*arguments):
        for members, latents in original(*arguments):
            if 7 in members:
                latents[members.index(7)][1, 2, 0] = number
            yield members, latents

    monkeypatch.setattr(latent_datamanager, "scene_latents", spoiled)
    name = manager.train_dataset.image_filenames[7]
    with pytest.raises(ValueError, match=f"^latent of {name}: expected finite numbers, got NaN or infinity; look at"):
        manager.prepare(space)


def test_latents_whose_sum_is_large_pass(balls):
    manager = datamanager_of(balls)
    large = [torch.full((64, 64, 4), 6e4, dtype=torch.float16)]
    assert next(manager.checked_latents(iter([([0], large)])))[1] is large


def spoil_latents(pipeline, scene):
    pipeline.prepare()
    table = pipeline.datamanager.table
    table.values = table.values.float()
    table.values[table.scene_starts[scene] : table.scene_starts[scene + 1]] = torch.nan


def test_a_scene_names_the_term_that_drops_it(balls, capsys):
    pipeline = pipeline_of(balls, train_base_planes=False, train_mlp=False, nerf=small_nerf(**SHARED)).train()
    spoil_latents(pipeline, 1)
    pipeline.get_train_loss_dict(4)
    line = "scenes: no finite numbers at step 4 in b; dropped, the others go on (latent_loss)"
    assert line in capsys.readouterr().out


def test_where_scenes_share_the_run_stops_and_names_step_term_and_scene(balls):
    pipeline = pipeline_of(balls, nerf=small_nerf(**SHARED)).train()
    spoil_latents(pipeline, 2)
    message = (
        r"^loss latent_loss at step 6: expected finite numbers, got nan; lower .* kept; in 1 of the step's 3 scenes: c$"
    )
    with pytest.raises(FloatingPointError, match=message):
        pipeline.get_train_loss_dict(6)


def test_a_regulariser_is_no_scenes_fault(balls, monkeypatch):
    pipeline = pipeline_of(balls, nerf=small_nerf(**SHARED)).train()
    losses = pipeline.model.get_loss_dict
    monkeypatch.setattr(
        pipeline.model, "get_loss_dict", lambda *a: {**losses(*a), "smoothness": torch.tensor(torch.inf)}
    )
    message = (
        "^loss smoothness at step 3: expected finite numbers, got inf; .*; in no scene's error, so in what is added"
    )
    with pytest.raises(FloatingPointError, match=message):
        pipeline.get_train_loss_dict(3)


def test_a_parameter_that_spoils_the_loss_is_named(balls, kl):
    pipeline = pipeline_of(balls, kl, rgb_alignment_start=0, nerf=small_nerf(**SHARED)).train()
    decoder = pipeline.space.autoencoder.decoder_parameters()[0]
    (name,) = [name for name, p in pipeline.named_parameters() if p is decoder]
    with torch.no_grad():
        decoder[(0,) * decoder.ndim] = torch.nan
    with pytest.raises(FloatingPointError, match=f"^parameter {name} at step 2: expected finite numbers, got nan"):
        pipeline.get_train_loss_dict(2)


def trainer_of(data, source, out, **settings):
    groups = ("planes", "shared_planes", "mlp", "decoder")
    config = LatentTrainerConfig(
        method_name="tiny",
        timestamp="now",
        output_dir=out,
        max_num_iterations=9,
        steps_per_save=3,
        steps_per_eval_image=1000,
        contact_sheet=False,
        pipeline=pipeline_config_of(data, source, rgb_alignment_start=2, nerf=small_nerf(**SHARED)),
        optimizers={
            g: {"optimizer": AdamOptimizerConfig(lr=0.01), "scheduler": StagedSchedulerConfig()} for g in groups
        },
        viewer=ViewerConfig(),
        vis="tensorboard",
        **settings,
    )
    config.machine.device_type = "cpu"
    trainer = config.setup()
    trainer.setup()
    return trainer


def test_the_last_good_state_is_kept(balls, kl, tmp_path):
    """Broken after step 7, whose checkpoint would be that of step 6; a run goes on from there."""
    trainer = trainer_of(balls, kl, tmp_path)
    loss_of = trainer.pipeline.get_train_loss_dict

    def break_it(step):
        if step == 7:
            with torch.no_grad():
                trainer.pipeline.latent_model.nerf.field.base_planes[0, 0, 0, 0, 0] = torch.nan
        return loss_of(step)

    trainer.pipeline.get_train_loss_dict = break_it
    with pytest.raises(
        FloatingPointError, match="^parameter .*base_planes at step 7: expected finite numbers, got nan"
    ):
        trainer.train()
    (kept,) = trainer.checkpoint_dir.iterdir()
    assert kept.name == "step-000000006.ckpt" and damage(kept) == ""
    state = torch.load(kept, map_location="cpu", weights_only=True)["pipeline"]
    assert all(bool(value.isfinite().all()) for value in state.values() if value.is_floating_point())
    again = trainer_of(balls, kl, tmp_path, load_dir=trainer.checkpoint_dir)
    again.train()
    assert again.step == 8
