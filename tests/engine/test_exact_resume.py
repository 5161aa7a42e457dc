"""A run that was stopped by a signal and resumed makes the losses of one that was not: to the last bit, in every stage.

Nothing is switched off: samples jitter, crops are drawn, grids and proposals follow their own clocks.
"""

import os
import signal

import pytest
import torch
from nerfstudio.engine.optimizers import AdamOptimizerConfig
from small_nerfs import small_kplanes, small_nerfacto, small_ngp, small_tensorf
from small_runs import run_config
from tiny import SHARED, joint_config_of, latent_model_of, pipeline_config_of, small_nerf

from latent_nerfstudio.engine.row_adam import RowAdamConfig
from latent_nerfstudio.engine.schedulers import StagedSchedulerConfig
from latent_nerfstudio.models.bundle_writing import write_shared_bundle

STEPS = 15
ACCUMULATED = "many scenes, rows, crops, accumulated gradients"
STOPS = {"ig-ae": (3, 8), "nerfacto": (12,), "kplanes": (12,), ACCUMULATED: (4, 7)}
"""Steps after which a run is stopped; in both stages of ig-ae, where proposal networks rest between two updates, and
where gradients of both stages wait for their step."""
ROWS = ("planes", "shared_planes")
OTHERS = ("mlp", "decoder", "encoder", "fields", "proposal_networks", "encodings")


def nerf(build, **settings):
    """Stages of a NeRF that holds one scene."""
    return lambda: {"nerf": build(**settings), "rgb_alignment_start": 9, "datamanager": {"rays_per_batch": 64}}


CASES = {
    "one scene, both stages": lambda: {"rgb_alignment_start": 7},
    ACCUMULATED: lambda: {
        "nerf": small_nerf(**SHARED),
        "rgb_alignment_start": 6,
        "crop": 16,
        "whole_pictures_start": 11,
        "datamanager": {"scenes_per_batch": 2, "rays_per_batch": 64},
        "accumulation": {"planes": 3, "mlp": 2, "decoder": 3},
    },
    "mixed supervision": lambda: {"mixed_supervision": 0.5, "crop": 16},
    "streamed": lambda: {"rgb_alignment_start": 7, "datamanager": {"latent_storage": "stream", "scenes_per_batch": 2}},
    "nerfacto": nerf(small_nerfacto, proposal_warmup=4, proposal_weights_anneal_max_num_iters=8),
    "instant-ngp": nerf(small_ngp),
    "kplanes": nerf(small_kplanes, proposal_warmup_steps=4),
    "tensorf": nerf(small_tensorf, init_resolution=4, final_resolution=6, upsampling_iters=(3,)),
    "ig-ae": lambda: {
        "joint": True,
        "joint_training_start": 5,
        "crop": 16,
        "accumulation": {"shared_planes": 5, "encoder": 2},
    },
}


def config_of(data, source, out, case, steps, **settings):
    stages = CASES[case]()
    build = joint_config_of if stages.pop("joint", False) else pipeline_config_of
    settings = {"gradient_accumulation_steps": stages.pop("accumulation", {}), **settings}
    if "nerf" in stages and type(stages["nerf"]).__name__ != "TriplaneModelConfig" or case.startswith("one scene"):
        data = data / "a"
    optimizers = {
        name: {"optimizer": kind(lr=0.01), "scheduler": StagedSchedulerConfig(warmup_steps=2)}
        for kind, names in ((RowAdamConfig, ROWS), (AdamOptimizerConfig, OTHERS))
        for name in names
    }
    pipeline = build(data, source, **stages)
    return run_config(pipeline, out, steps, optimizers=optimizers, contact_sheet=False, **settings)


def run(config, kill_at=None):
    """Trains; a signal comes during a step, if any. Returns losses and metrics of each step, and the trainer."""
    torch.manual_seed(1)
    trainer = config.setup()
    trainer.setup()
    rows, iterate = {}, trainer.train_iteration

    def listen(step):
        if step == kill_at:
            os.kill(os.getpid(), signal.SIGTERM)
        loss, losses, metrics = iterate(step)
        rows[step] = {name: float(value) for name, value in {"loss": loss, **losses, **metrics}.items()}
        return loss, losses, metrics

    trainer.train_iteration = listen
    if kill_at is None:
        trainer.train()
    else:
        with pytest.raises(SystemExit) as ended:
            trainer.train()
        assert ended.value.code == 143
    return rows, trainer


def flat(value, prefix=""):
    """Leaves of nested dictionaries and lists by their path."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, (list, tuple)) else None
    if items is None:
        return {prefix: value}
    return {name: leaf for key, part in items for name, leaf in flat(part, f"{prefix}/{key}").items()}


def checkpoint_of(trainer):
    (path,) = trainer.checkpoint_dir.iterdir()
    return flat(torch.load(path, weights_only=True))


def assert_same_end(whole, rest):
    """The last checkpoints hold the same, to the last bit, but for the clock."""
    one, other = checkpoint_of(whole), checkpoint_of(rest)
    assert one.keys() == other.keys()
    for name in one:
        if not name.endswith(("/training_seconds", "/seal")):
            assert is_same(one[name], other[name]), name


def is_same(one, other):
    """To the last bit, and in the order of summands where gradients are sparse."""
    if not torch.is_tensor(one):
        return one == other
    if one.is_sparse:
        return torch.equal(one._indices(), other._indices()) and torch.equal(one._values(), other._values())
    return torch.equal(one, other)


@pytest.mark.parametrize("case", list(CASES))
def test_a_stopped_run_goes_on_as_if_it_had_not_been(case, balls, kl, tmp_path):
    losses, whole = run(config_of(balls, kl, tmp_path / "whole", case, STEPS))
    folder, begun = None, 0
    for stop in STOPS.get(case, (4,)):
        part, trainer = run(config_of(balls, kl, tmp_path / f"part-{stop}", case, STEPS, load_dir=folder), stop)
        assert part == {step: losses[step] for step in range(begun, stop + 1)}
        assert [path.name for path in trainer.checkpoint_dir.iterdir()] == [f"step-{stop:09d}.ckpt"]
        assert not (trainer.base_dir / "training.json").exists()
        folder, begun = trainer.checkpoint_dir, stop + 1
    rest, trainer = run(config_of(balls, kl, tmp_path / "rest", case, STEPS, load_dir=folder))
    assert list(rest) == [step for step in losses if step >= begun] and len(rest) >= 2
    assert rest == {step: losses[step] for step in rest}
    assert_same_end(whole, trainer)


def test_checkpoints_on_the_way_hold_the_gradients_that_wait_for_their_step(balls, kl, tmp_path):
    """And no others; the decoder has none before RGB alignment."""
    more = {"steps_per_save": 4, "save_only_latest_checkpoint": False}
    losses, whole = run(config_of(balls, kl, tmp_path / "whole", ACCUMULATED, STEPS, **more))
    rest, _ = run(
        config_of(balls, kl, tmp_path / "rest", ACCUMULATED, STEPS, load_dir=whole.checkpoint_dir, load_step=8)
    )
    assert rest == {later: losses[later] for later in range(9, STEPS)}
    for step, waiting in ((4, ["mlp", "planes"]), (8, ["mlp"]), (12, ["decoder", "mlp", "planes"])):
        stored = torch.load(whole.checkpoint_dir / f"step-{step:09d}.ckpt", weights_only=True)["optimizers"]
        gradients = {name: [g for g in state.get("gradients", []) if g is not None] for name, state in stored.items()}
        assert sorted(name for name, held in gradients.items() if held) == waiting
        assert all(g.is_sparse and bool(g._values().any()) for g in gradients["planes"])


def test_a_run_of_new_scenes_against_a_bundle(balls, kl, tmp_path):
    """Scene weights are fitted before the first step, and not again."""
    write_shared_bundle(tmp_path / "bundle", latent_model_of(kl, nerf=small_nerf(**SHARED)), 1, {})

    def config(name, **settings):
        result = config_of(balls, kl, tmp_path / name, "one scene, both stages", 9, **settings)
        result.pipeline.model.nerf = small_nerf(**SHARED)
        result.pipeline.model.shared_bundle = str(tmp_path / "bundle")
        return result

    losses, whole = run(config("whole"))
    _, part = run(config("part"), kill_at=4)
    rest, trainer = run(config("rest", load_dir=part.checkpoint_dir))
    assert rest == {step: losses[step] for step in range(5, 9)}
    assert_same_end(whole, trainer)
