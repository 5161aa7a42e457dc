"""Scenes that fail beside others that go on, to the last bit."""

import pytest
import torch
from tiny import SHARED, pipeline_of, small_nerf, spoil_latents

from latent_nerfstudio.engine.row_adam import RowAdam
from latent_nerfstudio.pipelines.scene_watch import forget_rows, without_rows


def frozen_pipeline(data, source="identity", **settings):
    """Scenes that share nothing that is trained."""
    settings = {"train_base_planes": False, "train_mlp": False, "nerf": small_nerf(**SHARED), **settings}
    return pipeline_of(data, source, **settings).train()


def optimizers_of(pipeline, kind=torch.optim.Adam):
    return {name: kind(group, lr=0.02) for name, group in pipeline.get_param_groups().items()}


def train(pipeline, optimizers, steps):
    """Steps as the trainer takes them, without the samples' jitter."""
    pipeline.model.nerf.sampler.train_stratified = False
    for step in steps:
        for optimizer in optimizers.values():
            optimizer.zero_grad()
        _, losses, _ = pipeline.get_train_loss_dict(step)
        sum(losses.values()).backward()
        for optimizer in optimizers.values():
            optimizer.step()
        pipeline.watch.after_step(optimizers, step)


def rows_of(pipeline):
    """Copies of micro planes and scene weights, one flat row a scene."""
    field = pipeline.model.nerf.field
    return torch.cat([field.micro_planes.detach().flatten(1), field.scene_weights.detach()], dim=1).clone()


def test_rays_of_a_scene_stay_the_same_when_others_stop(balls):
    pipeline = frozen_pipeline(balls, datamanager={"rays_per_batch": 300})
    pipeline.prepare()
    whole, _ = pipeline.datamanager.next_train(0)
    pipeline.datamanager.draw_only(torch.tensor([0, 2]))
    part, _ = pipeline.datamanager.next_train(0)
    counts = [torch.bincount(rays.metadata["scene_index"][:, 0], minlength=3).tolist() for rays in (whole, part)]
    each = counts[0][0]  # of a third of 300, those that meet the box
    assert 0 < each <= 100 and counts == [[each] * 3, [each, 0, each]]
    cameras, _ = pipeline.datamanager.next_train_images(0)
    assert len(cameras) == 3 and 1 not in cameras.metadata["scene_index"]  # 4 pictures for 3 scenes: 2.67 for 2
    pipeline.datamanager.draw_only(None)
    assert torch.equal(pipeline.datamanager.next_train(0)[0].origins, whole.origins)


def test_a_scene_fails_alone_where_nothing_shared_is_trained(balls, kl):
    """The decoder is trained in RGB alignment alone."""
    shared = pipeline_of(balls, kl, nerf=small_nerf(**SHARED), rgb_alignment_start=2)
    with_decoder = frozen_pipeline(balls, kl, rgb_alignment_start=2)
    frozen = frozen_pipeline(balls, kl, rgb_alignment_start=2, train_decoder=False)
    stages = [[p.trains_shared(p.stage_at(step)) for step in (0, 2)] for p in (shared, with_decoder, frozen)]
    assert stages == [[True, True], [False, True], [False, False]]


def test_a_scene_without_numbers_is_dropped_and_the_others_go_on(balls, capsys):
    pipeline = frozen_pipeline(balls)
    spoil_latents(pipeline, 1)
    before = rows_of(pipeline)
    train(pipeline, optimizers_of(pipeline), range(3))
    assert pipeline.watch.failed_at.tolist() == [-1, 0, -1] and pipeline.watch.failed() == {"b": 0}
    moved = (rows_of(pipeline) != before).any(dim=1)
    assert moved.tolist() == [True, False, True] and rows_of(pipeline).isfinite().all()
    assert "no finite numbers at step 0 in b; dropped, the others go on (latent_loss)" in capsys.readouterr().out


@pytest.mark.parametrize("part", ["micro_planes", "scene_weights"])
def test_a_scene_that_begins_with_nan_leaves_none_in_checkpoints(balls, part):
    """In a corner of its planes that no ray need meet, or in its weights: what was NaN is zero, the rest stays."""
    pipeline = frozen_pipeline(balls)
    pipeline.prepare()
    row = getattr(pipeline.model.nerf.field, part).detach()[1].flatten()
    kept = row[1:].clone()
    row[0] = torch.nan
    train(pipeline, optimizers_of(pipeline), range(3))
    assert pipeline.watch.failed() == {"b": 0}
    assert row[0] == 0 and torch.equal(row[1:], kept) and rows_of(pipeline).isfinite().all()


def test_what_version_0_1_kept_of_failed_scenes_is_read(balls):
    pipeline = frozen_pipeline(balls)
    old = {"state": torch.tensor([0, 3, 2]), "ended_at": torch.tensor([-1, 7, 5]), "best": torch.zeros(3)}
    pipeline.load_pipeline({**pipeline.state_dict(), **{f"scene_progress.{k}": v for k, v in old.items()}}, 9)
    assert pipeline.watch.failed() == {"b": 7}


@pytest.mark.parametrize("kind", [torch.optim.Adam, RowAdam])
def test_a_gradient_that_is_no_number_is_taken_back(balls, kind):
    """The other scenes are as in a run where nothing happens, to the last bit."""
    results = []
    for is_broken in (False, True):
        pipeline = frozen_pipeline(balls)
        optimizers = optimizers_of(pipeline, kind)
        train(pipeline, optimizers, range(2))
        before = rows_of(pipeline)
        micro = pipeline.model.nerf.field.micro_planes
        if is_broken:
            poison = torch.ones_like(micro)
            poison[1, 0, 0, 0, 0] = torch.nan
            handle = micro.register_hook(lambda g, p=poison: (g.to_dense() * p).to_sparse(1) if g.is_sparse else g * p)
            train(pipeline, optimizers, [2])
            handle.remove()
            assert pipeline.watch.failed() == {"b": 2}
            assert torch.equal(rows_of(pipeline)[1], before[1])
        else:
            train(pipeline, optimizers, [2])
        results.append(rows_of(pipeline))
        train(pipeline, optimizers, [3])
        assert rows_of(pipeline).isfinite().all()
        if is_broken:
            assert torch.equal(rows_of(pipeline)[1], before[1])
    torch.testing.assert_close(results[0][[0, 2]], results[1][[0, 2]], rtol=0, atol=0)


def test_the_last_scene_stops_the_run(balls):
    pipeline = frozen_pipeline(balls)
    for scene in range(3):
        spoil_latents(pipeline, scene)
    with pytest.raises(FloatingPointError, match=r"scenes at step 0: expected .*, got NaN in all \(a, b, c"):
        train(pipeline, optimizers_of(pipeline), [0])


def test_rows_are_forgotten_in_dense_and_sparse_gradients():
    parameter, rows = torch.nn.Parameter(torch.randn(3, 2)), torch.tensor([1])
    optimizer = torch.optim.Adam([parameter])
    parameter.grad = torch.tensor([[1.0, 2.0], [torch.nan, 4.0], [5.0, 6.0]])
    optimizer.step()
    forget_rows(parameter, rows, {"planes": optimizer})
    assert parameter.grad.tolist() == [[1, 2], [0, 0], [5, 6]]
    state = optimizer.state[parameter]
    assert state["exp_avg"][1].tolist() == [0, 0] and state["exp_avg"][0].all() and state["exp_avg_sq"].isfinite().all()
    sparse = torch.tensor([[1.0, 2.0], [3.0, 4.0], [0.0, 0.0]]).to_sparse(1)
    assert without_rows(sparse, rows).to_dense().tolist() == [[1, 2], [0, 0], [0, 0]]
