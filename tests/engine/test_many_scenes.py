"""Runs of many scenes: streamed data, rows that are stepped alone, gradients that are accumulated, resuming."""

import torch
from small_runs import GROUPS
from test_trainer import trainer_of
from tiny import SHARED, small_nerf

from latent_nerfstudio.engine.row_adam import RowAdamConfig


def run_of(data, source, out, manager=None, **settings):
    """A finished run whose samples do not jitter, with two scenes a step."""
    manager = {"scenes_per_batch": 2, "rays_per_batch": 64, **(manager or {})}
    nerf = small_nerf(**SHARED)
    pipeline = {"rgb_alignment_start": 4, "datamanager": manager, "nerf": nerf}
    optimizers = dict.fromkeys(GROUPS, {"optimizer": RowAdamConfig(lr=0.01), "scheduler": None})
    torch.manual_seed(0)
    options = {"contact_sheet": False, "pipeline": pipeline, "optimizers": optimizers, **settings}
    trainer = trainer_of(data, source, out, **options)
    trainer.pipeline.latent_model.nerf.sampler.train_stratified = False
    trainer.train()
    return trainer


def test_scenes_that_are_in_no_step_stay_as_they_are(balls, kl, tmp_path):
    trainer = run_of(balls, kl, tmp_path, steps=1)
    (scenes,) = {tuple(trainer.pipeline.datamanager.next_train(0)[0].metadata["scene_index"].unique().tolist())}
    field = trainer.pipeline.latent_model.nerf.field
    for parameter in (field.micro_planes, field.scene_weights):
        (optimizer,) = [o for o in trainer.optimizers.optimizers.values() if parameter in o.state]
        assert optimizer.state[parameter]["row_steps"].nonzero()[:, 0].tolist() == list(scenes)
        assert optimizer.state[parameter]["exp_avg"].flatten(1).any(dim=1).tolist() == [s in scenes for s in range(3)]
    assert len(scenes) == 2 and parameter.grad.is_sparse


def test_gradients_are_accumulated(balls, kl, tmp_path):
    every = dict.fromkeys(GROUPS, 2)
    trainer = run_of(balls, kl, tmp_path, steps=4, gradient_accumulation_steps=every, log_gradients=True)
    field = trainer.pipeline.latent_model.nerf.field
    steps = trainer.optimizers.optimizers["planes"].state[field.micro_planes]["row_steps"]
    drawn = [trainer.pipeline.datamanager.next_train(s)[0].metadata["scene_index"].unique().tolist() for s in range(4)]
    expected = [sum(any(scene in drawn[s] for s in pair) for pair in ((0, 1), (2, 3))) for scene in range(3)]
    assert steps.tolist() == expected
