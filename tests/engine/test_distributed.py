"""Several processes on one run, on the CPU: what they learn is what one process learns."""

import socket

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from nerfstudio.configs.base_config import ViewerConfig
from nerfstudio.engine.optimizers import AdamOptimizerConfig
from tiny import pipeline_config_of
from torch.nn import Parameter

from latent_nerfstudio.data.share import Share
from latent_nerfstudio.engine.distributed import average_gradients
from latent_nerfstudio.engine.row_adam import RowAdamConfig
from latent_nerfstudio.engine.schedulers import StagedSchedulerConfig
from latent_nerfstudio.engine.trainer import LatentTrainerConfig
from latent_nerfstudio.pipelines.scene_progress import PlateauConfig

OPTIMIZERS = {"planes": RowAdamConfig, "shared_planes": RowAdamConfig, "mlp": AdamOptimizerConfig}
STEPS = 8


def config_of(data, source, out, **settings):
    """Four steps of latent supervision and four of RGB alignment."""
    pipeline = pipeline_config_of(data, source, rgb_alignment_start=STEPS // 2, **settings)
    pipeline.model.nerf.total_variation_weight = 0.0
    optimizers = {**OPTIMIZERS, "decoder": AdamOptimizerConfig}
    config = LatentTrainerConfig(
        method_name="tiny",
        experiment_name="balls",
        timestamp="now",
        output_dir=out,
        max_num_iterations=STEPS,
        steps_per_save=3,
        steps_per_eval_batch=1000,
        steps_per_eval_image=1000,
        steps_per_eval_all_images=1000,
        pipeline=pipeline,
        optimizers={
            name: {"optimizer": kind(lr=0.01, eps=1e-15), "scheduler": StagedSchedulerConfig()}
            for name, kind in optimizers.items()
        },
        viewer=ViewerConfig(),
        vis="tensorboard",
    )
    config.machine.device_type = "cpu"
    return config


def train(rank: int, world: int, config) -> None:
    """What Nerfstudio's `train_loop` does, with samples in the middle of their bins: jitter differs by process."""
    torch.manual_seed(42 + rank)
    trainer = config.setup(local_rank=rank, world_size=world)
    trainer.setup()
    trainer.pipeline.model.nerf.sampler.train_stratified = False
    trainer.train()


def worker(rank: int, world: int, port: int, function, *arguments) -> None:
    """Calls a function in one of several processes."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=world)
    function(rank, world, *arguments)
    dist.destroy_process_group()


def in_processes(world: int, function, *arguments) -> None:
    """Calls a function in several processes at once."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mp.spawn(worker, args=(world, port, function, *arguments), nprocs=world)  # type: ignore[attr-defined]


def state_of(out):
    (path,) = out.glob("balls/tiny/now/nerfstudio_models/*.ckpt")
    return torch.load(path, map_location="cpu", weights_only=True)


@pytest.mark.parametrize("scenes", [3, 1])
def test_two_processes_learn_what_one_learns(scenes, balls, kl, tmp_path):
    """Three scenes are dealt out to the processes; of one scene, rays and pictures are."""
    data = balls if scenes > 1 else sorted(balls.iterdir())[0]
    train(0, 1, config_of(data, kl, tmp_path / "one"))
    in_processes(2, train, config_of(data, kl, tmp_path / "two"))
    one, two = state_of(tmp_path / "one"), state_of(tmp_path / "two")
    assert one["pipeline"].keys() == two["pipeline"].keys()
    moved = [name for name in one["pipeline"] if "field" in name or "decoder" in name]
    assert len(moved) > 10
    for name in moved:  # the mean: where a gradient is all but zero, Adam's step is its sign, which is chance
        assert float((two["pipeline"][name] - one["pipeline"][name]).abs().mean()) < 1e-4
    for group in one["optimizers"]:
        for key, states in one["optimizers"][group]["state"].items():
            steps = [name for name in states if name in ("step", "row_steps")]
            assert all(torch.equal(states[n], two["optimizers"][group]["state"][key][n]) for n in steps)


def test_gradients_that_accumulate_are_those_of_all_processes(balls, kl, tmp_path):
    """Two processes that go on from a checkpoint between two steps of the optimizers, and two that were not stopped."""
    periods = {"planes": 3, "shared_planes": 3, "mlp": 3, "decoder": 3}

    def config(name, **settings):
        config = config_of(balls, kl, tmp_path / name)
        config.gradient_accumulation_steps, config.save_only_latest_checkpoint = periods, False
        for setting, value in settings.items():
            setattr(config, setting, value)
        return config

    whole = config("whole")
    in_processes(2, train, whole)
    load = {"load_dir": whole.get_checkpoint_dir(), "load_step": 3}
    in_processes(2, train, config("rest", **load))
    states = [
        torch.load(tmp_path / name / "balls/tiny/now/nerfstudio_models/step-000000007.ckpt", weights_only=True)
        for name in ("whole", "rest")
    ]
    for name, value in states[0]["pipeline"].items():
        if "field" in name or "decoder" in name:
            assert float((states[1]["pipeline"][name] - value).abs().mean()) < 1e-6, name
    planes = [state["optimizers"]["planes"]["gradients"] for state in states]
    for one, other in zip(*planes, strict=True):
        assert one.is_sparse and bool(one.to_dense().flatten(1).any(dim=1).all())  # of the scenes of both processes
        torch.testing.assert_close(other.to_dense(), one.to_dense(), rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize("planes", [RowAdamConfig, AdamOptimizerConfig])
def test_gradients_that_accumulate_are_kept_where_a_step_has_none_of_a_process(planes, balls, kl, tmp_path):
    """One scene a step, so that one of two processes has none, also in the last step before the optimizers'."""

    def config(name):
        config = config_of(balls, kl, tmp_path / name, datamanager={"scenes_per_batch": 1})
        config.gradient_accumulation_steps = {"planes": 4, "shared_planes": 4, "mlp": 4, "decoder": 4}
        config.optimizers["planes"]["optimizer"] = planes(lr=0.01, eps=1e-15)
        return config

    train(0, 1, config("one"))
    in_processes(2, train, config("two"))
    one, two = state_of(tmp_path / "one"), state_of(tmp_path / "two")
    for name, value in one["pipeline"].items():
        if "field" in name or "decoder" in name:
            assert float((two["pipeline"][name] - value).abs().mean()) < 1e-4, name
    (planes_one,), (planes_two,) = (state["optimizers"]["planes"]["state"].values() for state in (one, two))
    steps = "row_steps" if planes is RowAdamConfig else "step"
    assert bool((planes_one[steps] > 0).all()) and torch.equal(planes_two[steps], planes_one[steps])
    # Rows of scenes have twice the gradient, since losses are weighted for the mean over processes; Adam is scale-free.
    mean, doubled = planes_one["exp_avg"], planes_two["exp_avg"]
    assert float((doubled / 2 - mean).norm()) < 1e-2 * float(mean.norm())


def averages(rank: int, world: int, folder) -> None:
    """Three parameters: both processes have a gradient, one has, none has."""
    both, one, none = (Parameter(torch.zeros(2, 3)) for _ in range(3))
    both.grad = torch.full((2, 3), float(rank + 1))
    if rank == 1:
        one.grad = torch.sparse_coo_tensor(torch.tensor([[1]]), torch.ones(1, 3), (2, 3))
    average_gradients([both, one, none])
    torch.save([p.grad for p in (both, one, none)], folder / f"{rank}.pt")


def test_average_of_gradients(tmp_path):
    in_processes(2, averages, tmp_path)
    for rank in range(2):
        both, one, none = torch.load(tmp_path / f"{rank}.pt")
        assert torch.equal(both, torch.full((2, 3), 1.5))
        assert torch.equal(one, torch.tensor([[0.0] * 3, [0.5] * 3]))
        assert none is None


@pytest.mark.parametrize("by_scene", [True, False])
def test_shares_are_a_partition(by_scene):
    scenes = torch.tensor([0, 0, 1, 3, 3, 4, 4])
    shares = [Share(rank, 3, by_scene) for rank in range(3)]
    own = torch.stack([share.own(scenes) for share in shares])
    assert torch.equal(own.sum(dim=0), torch.ones(7, dtype=torch.long))
    weights = [share.weight(int(mask.sum()), 7) for share, mask in zip(shares, own, strict=True)]
    values = torch.arange(7.0)
    means = [float(values[mask].mean()) if mask.any() else 0.0 for mask in own]
    assert sum(w * m for w, m in zip(weights, means, strict=True)) / 3 == pytest.approx(float(values.mean()))


def test_an_early_end_of_scenes_is_refused(balls, kl, tmp_path):
    config = config_of(balls, kl, tmp_path, plateau=PlateauConfig(every=5))
    with pytest.raises(ValueError, match="plateau.every: expected 0 with several devices, got 5"):
        config.pipeline.setup(device="cpu", world_size=2)
