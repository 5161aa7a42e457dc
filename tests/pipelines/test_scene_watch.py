"""Scenes that stop, cool down or fail beside others that go on, to the last bit."""

import copy

import pytest
import torch
from tiny import pipeline_of, small_nerf

from latent_nerfstudio.engine.row_adam import RowAdam
from latent_nerfstudio.pipelines.held_out import PIXELS, VIEWS, HeldOutViews, chosen_views
from latent_nerfstudio.pipelines.scene_progress import COOLING, FAILED, STOPPED, TRAINING, PlateauConfig
from latent_nerfstudio.pipelines.scene_watch import NothingToTrain, forget_rows, part_of_step, without_rows

NERF = {"macro_features": 3, "num_base_planes": 2}


def frozen_pipeline(data, source="identity", **settings):
    """Scenes that share nothing that is trained."""
    settings = {"train_base_planes": False, "train_mlp": False, "nerf": small_nerf(**NERF), **settings}
    return pipeline_of(data, source, **settings).train()


def optimizers_of(pipeline, kind=torch.optim.Adam):
    return {name: kind(group, lr=0.02) for name, group in pipeline.get_param_groups().items()}


def train(pipeline, optimizers, steps):
    """Steps as the trainer takes them, without the samples' jitter."""
    pipeline.latent_model.nerf.sampler.train_stratified = False
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
    field = pipeline.latent_model.nerf.field
    return torch.cat([field.micro_planes.detach().flatten(1), field.scene_weights.detach()], dim=1).clone()


# Stops


@pytest.mark.parametrize("kind", [torch.optim.Adam, RowAdam])
def test_a_scene_that_stops_does_not_move_by_a_bit(balls, kind):
    pipeline = frozen_pipeline(balls, plateau=PlateauConfig(cooldown=0))
    pipeline.config.plateau.every = 1000
    optimizers = optimizers_of(pipeline, kind)
    train(pipeline, optimizers, range(3))
    pipeline.scene_progress.state[1] = COOLING
    train(pipeline, optimizers, [3])
    assert pipeline.scene_progress.state.tolist() == [TRAINING, STOPPED, TRAINING]
    before = rows_of(pipeline)
    train(pipeline, optimizers, range(4, 8))
    moved = (rows_of(pipeline) != before).any(dim=1)
    assert moved.tolist() == [True, False, True]
    assert pipeline.scene_progress.steps.tolist() == [8, 4, 8]


def test_rays_of_a_scene_stay_the_same_when_others_stop(balls):
    pipeline = frozen_pipeline(balls, datamanager={"rays_per_batch": 300})
    pipeline.prepare()
    whole, _ = pipeline.datamanager.next_train(0)
    pipeline.datamanager.draw_only(torch.tensor([0, 2]))
    part, _ = pipeline.datamanager.next_train(0)
    counts = [torch.bincount(rays.metadata["scene_index"][:, 0], minlength=3).tolist() for rays in (whole, part)]
    assert counts == [[100, 100, 100], [100, 0, 100]]
    cameras, _ = pipeline.datamanager.next_train_images(0)
    assert len(cameras) == 3 and 1 not in cameras.metadata["scene_index"]  # 4 pictures for 3 scenes: 2.67 for 2
    pipeline.datamanager.draw_only(None)
    assert torch.equal(pipeline.datamanager.next_train(0)[0].origins, whole.origins)


def test_no_scene_to_train(balls):
    pipeline = frozen_pipeline(balls, plateau=PlateauConfig(every=1000))
    train(pipeline, optimizers_of(pipeline), [0])
    assert not pipeline.watch.leaves_out(1)
    pipeline.scene_progress.state.fill_(STOPPED)
    assert pipeline.watch.leaves_out(1) and pipeline.watch.is_over(1, 10)
    with pytest.raises(NothingToTrain, match="expected some to train at step 1, got none"):
        pipeline.get_train_loss_dict(1)


def test_measurements_stop_scenes_that_gain_nothing(balls):
    """No scene gains 100 dB: measured after steps 2, 4 and 6, cooling for 3, stopped after step 9."""
    config = PlateauConfig(every=2, patience=2, tolerance=100.0, minimum_steps=0, cooldown=3)
    pipeline = frozen_pipeline(balls, plateau=config)
    optimizers = optimizers_of(pipeline)
    train(pipeline, optimizers, range(6))
    progress = pipeline.scene_progress
    assert progress.state.tolist() == [COOLING] * 3 and progress.psnr.isfinite().all()
    train(pipeline, optimizers, range(6, 9))
    assert progress.state.tolist() == [STOPPED] * 3 and progress.ended_at.tolist() == [8] * 3
    views = HeldOutViews(pipeline)
    torch.testing.assert_close(progress.psnr, views.psnr(torch.arange(3), decoded=False))


def test_where_something_shared_is_trained_scenes_end_together(balls, kl):
    config = PlateauConfig(every=1, patience=1, tolerance=100.0, minimum_steps=0, cooldown=0)
    pipeline = pipeline_of(balls, kl, nerf=small_nerf(**NERF), plateau=config, rgb_alignment_start=2).train()
    optimizers = optimizers_of(pipeline)
    train(pipeline, optimizers, range(2))
    assert pipeline.watch.together and pipeline.scene_progress.state.tolist() == [STOPPED] * 3
    train(pipeline, optimizers, [2])
    assert pipeline.scene_progress.state.tolist() == [TRAINING] * 3  # in the next stage
    frozen = frozen_pipeline(balls, kl, rgb_alignment_start=2, train_decoder=False)
    frozen.prepare()
    for step in (0, 2):
        frozen.watch.enter(step)
        assert not frozen.watch.together
    with_decoder = frozen_pipeline(balls, kl, rgb_alignment_start=2)
    with_decoder.prepare()
    togethers = []
    for step in (0, 2):
        with_decoder.watch.enter(step)
        togethers.append(with_decoder.watch.together)
    assert togethers == [False, True]


# Cool-downs


def test_a_part_of_a_step():
    before, after = torch.randn(4, 2, 3), torch.randn(4, 2, 3)
    after[1] = torch.nan
    mixed = part_of_step(before, after, torch.tensor([1.0, 0.0, 0.5, 0.25]))
    assert torch.equal(mixed[0], after[0]) and torch.equal(mixed[1], before[1])
    torch.testing.assert_close(mixed[2], (before[2] + after[2]) / 2)
    torch.testing.assert_close(mixed[3], 0.75 * before[3] + 0.25 * after[3])


def test_a_cooldown_is_a_lower_learning_rate_for_one_scene(balls):
    """Two of four steps are left, so the rate is a half: as with a learning rate of a half."""
    pipeline = frozen_pipeline(balls, plateau=PlateauConfig(every=1000, cooldown=4))
    optimizers = optimizers_of(pipeline)
    train(pipeline, optimizers, range(2))
    other, states = copy.deepcopy(pipeline.state_dict()), {n: o.state_dict() for n, o in optimizers.items()}
    states, before = copy.deepcopy(states), rows_of(pipeline)

    def moves(rate, cooling):
        pipeline.load_state_dict(other)
        for name, optimizer in optimizers.items():
            optimizer.load_state_dict(copy.deepcopy(states[name]))
            optimizer.param_groups[0]["lr"] = rate
        pipeline.scene_progress.state[0] = COOLING if cooling else TRAINING
        train(pipeline, optimizers, [2])
        return rows_of(pipeline) - before

    half, full, mixed = moves(0.01, False), moves(0.02, False), moves(0.02, True)
    torch.testing.assert_close(mixed[0], half[0], atol=1e-6, rtol=1e-4)
    assert torch.equal(mixed[1:], full[1:]) and not torch.allclose(half[1:], full[1:], atol=1e-4)


def test_a_cooldown_of_all_slows_what_they_share(balls):
    pipeline = pipeline_of(balls, nerf=small_nerf(**NERF), plateau=PlateauConfig(every=1000, cooldown=4)).train()
    optimizers = optimizers_of(pipeline)
    train(pipeline, optimizers, range(4))
    pipeline.scene_progress.state.fill_(COOLING)
    pipeline.scene_progress.cooling_from.fill_(2)  # two of four steps are done
    before = [p.detach().clone() for p in pipeline.model.parameters()]
    train(pipeline, {name: torch.optim.SGD(o.param_groups[0]["params"], lr=2.0) for name, o in optimizers.items()}, [4])
    trained = [(p, b) for p, b in zip(pipeline.model.parameters(), before, strict=True) if p.grad is not None]
    assert len(trained) > 4
    for parameter, was in trained:
        torch.testing.assert_close(parameter, was - parameter.grad, atol=1e-5, rtol=1e-4)
    assert len(pipeline.scene_progress.due()) == 0


# Failures


def spoil(pipeline, scene):
    """Latents of a scene that are no numbers."""
    pipeline.prepare()
    table = pipeline.datamanager.table
    table.values = table.values.float()
    table.values[table.scene_starts[scene] : table.scene_starts[scene + 1]] = torch.nan


def test_a_scene_without_numbers_is_dropped_and_the_others_go_on(balls, capsys):
    pipeline = frozen_pipeline(balls)
    spoil(pipeline, 1)
    before = rows_of(pipeline)
    train(pipeline, optimizers_of(pipeline), range(3))
    progress = pipeline.scene_progress
    assert progress.state.tolist() == [TRAINING, FAILED, TRAINING] and progress.ended_at.tolist() == [-1, 0, -1]
    assert progress.steps.tolist() == [3, 0, 3]
    moved = (rows_of(pipeline) != before).any(dim=1)
    assert moved.tolist() == [True, False, True] and rows_of(pipeline).isfinite().all()
    assert "no finite numbers at step 0 in b; dropped" in capsys.readouterr().out
    stored = pipeline.state_dict()
    other = frozen_pipeline(balls)
    other.load_pipeline(stored, 2)
    train(other, optimizers_of(other), [3])
    assert other.scene_progress.steps.tolist() == [4, 0, 4]


@pytest.mark.parametrize("kind", [torch.optim.Adam, RowAdam])
def test_a_gradient_that_is_no_number_is_taken_back(balls, kind):
    """The other scenes are as in a run where nothing happens, to the last bit."""
    results = []
    for is_broken in (False, True):
        pipeline = frozen_pipeline(balls)
        optimizers = optimizers_of(pipeline, kind)
        train(pipeline, optimizers, range(2))
        before = rows_of(pipeline)
        micro = pipeline.latent_model.nerf.field.micro_planes
        if is_broken:
            poison = torch.ones_like(micro)
            poison[1, 0, 0, 0, 0] = torch.nan
            handle = micro.register_hook(lambda g, p=poison: (g.to_dense() * p).to_sparse(1) if g.is_sparse else g * p)
            train(pipeline, optimizers, [2])
            handle.remove()
            assert pipeline.scene_progress.ended_at.tolist() == [-1, 2, -1]
            assert torch.equal(rows_of(pipeline)[1], before[1])
        else:
            train(pipeline, optimizers, [2])
        results.append(rows_of(pipeline))
        train(pipeline, optimizers, [3])
        assert rows_of(pipeline).isfinite().all()
        if is_broken:
            assert torch.equal(rows_of(pipeline)[1], before[1])
    torch.testing.assert_close(results[0][[0, 2]], results[1][[0, 2]], rtol=0, atol=0)


def test_shared_training_stops_the_run(balls):
    pipeline = pipeline_of(balls, nerf=small_nerf(**NERF)).train()
    spoil(pipeline, 1)
    with pytest.raises(FloatingPointError, match="loss latent_loss at step 0: expected finite numbers"):
        train(pipeline, optimizers_of(pipeline), [0])


def test_the_last_scene_stops_the_run(balls):
    pipeline = frozen_pipeline(balls)
    for scene in range(3):
        spoil(pipeline, scene)
    with pytest.raises(
        FloatingPointError, match=r"scenes at step 0: expected finite numbers, got NaN in all \(a, b, c"
    ):
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


# Held-out views


def test_psnr_of_held_out_latents_against_whole_pictures(balls, kl):
    pipeline = pipeline_of(balls, kl)
    pipeline.prepare()
    views = HeldOutViews(pipeline)
    measured = views.psnr(torch.tensor([2, 0]), decoded=False)
    assert pipeline.training == pipeline.model.training
    pipeline.eval()
    for slot, scene in enumerate((2, 0)):
        view = views.views[scene][0]
        camera, batch = pipeline.datamanager.fixed_indices_eval_dataloader[view]
        with torch.no_grad():
            render = pipeline.latent_model.render_latents(camera)[0][0]
            error = (render - pipeline.space.encode(batch["image"][None].float() / 255)[0]).square().mean(-1)
        places = views.samples[scene][0]
        assert len(places) == PIXELS and (places[:, 0] == view).all()
        expected = 10 * torch.log10(36 / error[places[:, 1], places[:, 2]].mean())
        assert float(measured[slot]) == pytest.approx(float(expected), abs=0.05)
    assert not torch.isclose(measured[0], measured[1])


def test_psnr_of_a_decoded_view(balls, kl):
    pipeline = pipeline_of(balls, kl)
    pipeline.prepare()
    metrics = pipeline.get_average_eval_image_metrics()
    measured = HeldOutViews(pipeline).psnr(torch.arange(3), decoded=True)
    assert measured.tolist() == pytest.approx([metrics[f"{name}/psnr"] for name in "abc"], abs=1e-3)


def test_views_are_spread_evenly_with_the_middle_one_first():
    assert VIEWS == 2
    assert chosen_views([0, 0, 0, 0, 1, 2, 2, 2], ["a", "b", "c"]) == [[2, 0], [4], [6, 7]]


def test_a_scene_without_held_out_views_is_refused(balls):
    with pytest.raises(ValueError, match="expected held-out views of each scene, to measure 'b', got none; hold some"):
        chosen_views([0, 0], ["a", "b"])
