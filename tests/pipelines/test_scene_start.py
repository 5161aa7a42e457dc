"""The start of new scenes: least squares where the solution is known, runs against a bundle, and what these train."""

import pytest
import torch
from tiny import SHARED, disturb, fit, latent_model_of, pipeline_of, prepared, small_nerf

from latent_nerfstudio.data.pixels import with_targets
from latent_nerfstudio.fields.placement import Placement
from latent_nerfstudio.models.bundle_writing import write_shared_bundle
from latent_nerfstudio.pipelines.scene_start import damped_step, derivatives, least_squares, rates_of, start_scenes


def linear(scenes=3, values=20, weights=4):
    """A render that is linear in the weights, and its matrices."""
    matrix = torch.randn(scenes, values, weights, generator=torch.Generator().manual_seed(1))
    return matrix, lambda w: torch.einsum("svw,sw->sv", matrix, w)


def test_a_linear_render_has_the_known_solution_and_its_matrix_as_derivatives():
    matrix, render = linear()
    target = torch.randn(3, 20)
    fitted, errors = least_squares(render, torch.zeros(3, 4), target, steps=8)
    solution = torch.linalg.lstsq(matrix, target[..., None]).solution[..., 0]
    torch.testing.assert_close(fitted, solution, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(errors[0], target.square().mean(1))
    torch.testing.assert_close(errors[1], (render(solution) - target).square().mean(1))
    weights = torch.randn(3, 4)
    torch.testing.assert_close(derivatives(render, weights, render(weights)), matrix, atol=1e-4, rtol=1e-4)


def test_damping_by_its_equation():
    matrix, residual, damping = torch.randn(2, 9, 3), torch.randn(2, 9), torch.tensor([[0.0], [2.0]])
    for scene in range(2):
        normal = matrix[scene].T @ matrix[scene]
        inverse = torch.linalg.inv(normal + damping[scene] * torch.diag(normal.diag()))
        expected = inverse @ matrix[scene].T @ residual[scene]
        torch.testing.assert_close(damped_step(matrix, residual, damping)[scene], expected, atol=1e-4, rtol=1e-3)


def test_a_curved_render_is_fitted_and_no_scene_becomes_worse():
    def render(w):
        return torch.stack([w[:, 0] ** 3, (w[:, 0] * w[:, 1]).exp(), w[:, 1].sin()], dim=1)

    wanted = torch.tensor([[1.2, 0.4], [-0.5, 0.8], [0.3, -0.3]])
    fitted, errors = least_squares(render, torch.full((3, 2), 0.5), render(wanted), steps=30)
    assert (errors[1] <= errors[0]).all() and float(errors[1].max()) < 1e-4
    torch.testing.assert_close((render(fitted) - render(wanted)).square().mean(1), errors[1])


def test_weights_that_show_nothing_or_no_numbers_are_left_alone():
    start = torch.rand(2, 3)
    blind, _ = least_squares(lambda w: torch.zeros(2, 5), start, torch.ones(2, 5), steps=3)
    assert torch.equal(blind, start)

    def render(w):
        return torch.where(w[:1].sum() == start[:1].sum(), w, torch.nan) + torch.tensor([[torch.nan], [0.0]])

    broken, errors = least_squares(render, start, torch.ones(2, 3), steps=3)
    assert torch.equal(broken[0], start[0]) and broken.isfinite().all()


@pytest.fixture(scope="module")
def bundle(kl, tmp_path_factory):
    """A bundle whose autoencoder is no longer the one it came from."""
    model = latent_model_of(kl, nerf=small_nerf(**SHARED))
    disturb(model.latent_space.autoencoder.parameters())
    with torch.no_grad():
        model.nerf.field.base_planes.mul_(10)
    return write_shared_bundle(tmp_path_factory.mktemp("bundle"), model, 7, {})


def pipeline_from(data, bundle, **settings):
    return pipeline_of(data, "bundled", shared_bundle=bundle, rgb_alignment_start=4, **settings)


def latent_error(pipeline, scene):
    """Of a sample of one scene that the fit has not seen."""
    pipeline.eval()
    rays, batch = with_targets(*pipeline.datamanager.next_train(12345), pipeline.space)
    mine = rays.metadata["scene_index"][:, 0] == scene
    with torch.no_grad():
        return float((pipeline.model(rays)["latent"] - batch["latent"])[mine].square().mean())


def test_scenes_of_a_bundle_start_closer_to_their_latents(balls, bundle):
    mean, fitted = (pipeline_from(balls, bundle, fit_scene_weights=steps) for steps in (0, 4))
    before = {name: value.clone() for name, value in fitted.state_dict().items()}
    for pipeline in (mean, fitted):
        pipeline.model.fill_box()  # within the balls' own a sample tells too little of a random bundle
        pipeline.prepare()
    for scene in range(3):
        assert latent_error(fitted, scene) < latent_error(mean, scene)
    field = mean.model.nerf.field
    assert torch.equal(field.scene_weights, field.scene_weights[:1].expand(3, -1))
    assert not field.micro_planes.any()
    changed = {name for name, value in fitted.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"_model.nerf.field.scene_weights"}
    assert fitted.start_seconds > 0 == mean.start_seconds


def test_many_scenes_are_fitted_a_few_at_a_time(balls, bundle):
    """Each as it is alone: scenes do not see each other. The fit draws nothing and keeps the mode."""
    fitted = []
    for size in (1, 0):
        manager = {"scenes_per_batch": size, "train_cameras_sampling_seed": 3}
        pipeline = prepared(pipeline_from(balls, bundle, datamanager=manager, fit_scene_weights=0)).train()
        state = torch.get_rng_state()
        assert start_scenes(pipeline.model, pipeline.datamanager, 4) > 0
        assert torch.equal(torch.get_rng_state(), state) and pipeline.training
        fitted.append(pipeline.model.nerf.field.scene_weights[0])
    torch.testing.assert_close(*fitted, atol=1e-4, rtol=1e-3)


def test_a_resumed_run_is_not_fitted_again(balls, bundle):
    pipeline = pipeline_from(balls, bundle)
    stored = pipeline.state_dict()
    pipeline.load_pipeline(stored, 0)
    before = pipeline.model.nerf.field.scene_weights.clone()
    pipeline.prepare()
    assert torch.equal(pipeline.model.nerf.field.scene_weights, before)


def test_scenes_learn_at_rates_of_their_photos_where_what_they_share_stays(balls, bundle):
    """Of five training photos each; not where MLP or base planes are trained too, without a bundle or in alignment."""
    rates = rates_of(torch.tensor([0, 1, 2, 4, 9, 16, 100]))
    assert rates.tolist() == pytest.approx([0.5, 0.5, 0.5**0.5, 1, 1.5, 2, 2])
    pipeline = pipeline_from(balls, bundle)
    assert pipeline.scene_rates(3).tolist() == pytest.approx([(5 / 4) ** 0.5] * 3)
    assert pipeline.scene_rates(4) is None
    others = [pipeline_from(balls, bundle, train_mlp=True), pipeline_from(balls, bundle, train_base_planes=True)]
    others.append(pipeline_of(balls))
    assert [other.scene_rates(0) for other in others] == [None] * 3


def parts(pipeline):
    """Copies of what a run may train."""
    field = pipeline.model.nerf.field
    names = {"base": [field.base_planes], "weights": [field.scene_weights], "micro": [field.micro_planes]}
    everything = {**names, "mlp": list(field.mlp.parameters())}
    return {name: torch.cat([p.detach().flatten() for p in group]).clone() for name, group in everything.items()}


def train(pipeline):
    """Names of the parts that steps of both stages move."""
    before = parts(pipeline)
    fit(pipeline, (0, 1, 4))
    after = parts(pipeline)
    return {name for name in before if not torch.equal(before[name], after[name])}


def test_what_a_bundle_brings_is_kept_by_default(balls, bundle):
    """And its numbers are not fitted again; scenes end at their own box, which is less than the bundle's."""
    pipeline = pipeline_from(balls, bundle)
    before = {name: value.clone() for name, value in pipeline.space.named_buffers()}
    assert train(pipeline) == {"weights", "micro"}
    assert len(pipeline.get_param_groups()["shared_planes"]) == 2 and "mlp" not in pipeline.get_param_groups()
    assert all(torch.equal(value, before[name]) for name, value in pipeline.space.named_buffers())
    for index, box in enumerate(pipeline.datamanager.train_dataset.metadata["scene_boxes"]):
        assert pipeline.model.box_of(index).flatten().tolist() == pytest.approx(box.flatten().tolist())


def test_shared_parts_are_trained_where_it_is_asked_for(balls, bundle):
    assert train(pipeline_from(balls, bundle, train_base_planes=True)) == {"base", "weights", "micro"}
    assert train(pipeline_from(balls, bundle, train_mlp=True)) == {"weights", "micro", "mlp"}


def test_a_run_without_a_bundle_trains_everything(balls):
    """A field without base planes has none to freeze, nor scene weights to fit."""
    assert train(pipeline_of(balls, nerf=small_nerf(**SHARED))) == {"base", "weights", "micro", "mlp"}
    pipeline = prepared(pipeline_of(balls, train_base_planes=False, train_mlp=False))
    assert list(pipeline.get_param_groups()) == ["planes"]
    assert start_scenes(pipeline.model, pipeline.datamanager, 3) == 0


def test_moved_scenes_stay_moved_where_a_run_is_opened_again(balls, bundle):
    """Nerfstudio loads a pipeline twice, of which the second time has no weights of the model."""
    pipeline, other = pipeline_from(balls, bundle), pipeline_from(balls, bundle)
    count = len(pipeline.model.scene_names)
    pipeline.model.place([Placement(2.0, (0.5, 0.0, 0.0), ((-0.5,) * 3, (0.25,) * 3))] * count)
    other.load_pipeline(pipeline.state_dict(), 4)
    assert list(other.model.placements) == list(pipeline.model.placements)
