"""The K-Planes NeRF: rays, proposals and their training, regularisers, and what it refuses."""

from types import SimpleNamespace

import pytest
import torch
from nerfstudio.cameras.rays import RayBundle
from small_nerfs import nerf_of, rays_at, small_kplanes
from tiny import gradients

from latent_nerfstudio.models.kplanes import annealing_power

LOSSES = {"interlevel_loss", "distortion_loss", "total_variation", "proposal_total_variation"}


def model_of(**settings):
    return nerf_of(small_kplanes(**settings))


def test_samples_gather_where_the_proposal_is_dense():
    """A proposal that is dense in a slab around z = 0, a tenth of the ray, draws two thirds of the NeRF's samples
    there: Nerfstudio's sampler keeps some everywhere."""
    model = model_of(num_proposal_samples=(64,), num_samples=32).eval()
    model.proposal_density = lambda network, p: 100.0 * (p[..., 2:].abs() < 0.1).float()
    origin, down = torch.tensor([[0.1, 0.2, 3.0]]), torch.tensor([[0.0, 0.0, -1.0]])
    bundle = RayBundle(origin, down, torch.ones(1, 1), metadata={})
    seen = []
    field = model.field.forward
    model.field.forward = lambda positions, directions=None: (seen.append(positions), field(positions, directions))[1]
    model(bundle)
    height = seen[0][:, 2]
    assert height.shape == (32,)
    assert float((height.abs() < 0.15).float().mean()) > 0.6


def test_every_parameter_is_trained_by_latent_supervision():
    model = model_of(proposal_resolutions=(4, 6), num_proposal_samples=(12, 10)).train()
    losses = model.get_loss_dict(model(rays_at()), {"latent": torch.rand(40, 4)})
    assert set(losses) == LOSSES | {"latent_loss"}
    sum(losses.values()).backward()
    groups = model.get_param_groups()
    assert list(groups) == ["planes", "mlp", "proposal_networks"]
    assert all(all(gradients(*group)) for group in groups.values())


def test_reconstruction_trains_the_field_and_the_regularisers_of_both_stages_the_proposals():
    model = model_of(proposal_total_variation_weight=0.0).train()
    field, proposals = ([*part.parameters()] for part in (model.field, model.proposal_networks))
    outputs = model(rays_at())
    model.get_loss_dict(outputs, {"latent": torch.rand(40, 4)})["latent_loss"].backward(retain_graph=True)
    assert all(gradients(*field)) and not any(gradients(*proposals))
    model.zero_grad()
    losses = model.get_regularization_dict(outputs)
    assert set(losses) == LOSSES - {"proposal_total_variation"}
    losses["interlevel_loss"].backward()
    assert all(gradients(*proposals)) and not any(gradients(*field))


def test_total_variation_by_hand_and_none_in_evaluation():
    model = model_of(total_variation_weight=0.5, interlevel_weight=0.0, distortion_weight=0.0).train()
    losses = model.get_regularization_dict(model(rays_at()))
    assert set(losses) == {"total_variation", "proposal_total_variation"}
    variations = [(p.diff(dim=-1) ** 2).mean() + (p.diff(dim=-2) ** 2).mean() for p in model.field.planes]
    torch.testing.assert_close(losses["total_variation"], 0.5 * sum(variations) / 2)
    assert model.eval().get_regularization_dict(model(rays_at())) == {}


def test_the_interlevel_loss_vanishes_where_the_proposal_encloses_the_weights():
    model = model_of(num_proposal_samples=(8,), num_samples=8).train()
    outputs = model(rays_at())
    outputs["weights_list"][0] = torch.ones_like(outputs["weights_list"][0])
    assert float(model.get_regularization_dict(outputs)["interlevel_loss"]) < 1e-6


def test_callbacks_anneal_and_pace_the_proposals_less_and_less_often():
    model = model_of(proposal_anneal_steps=100)
    before, after = model.get_training_callbacks(SimpleNamespace())
    before.run_callback_at_location(50, before.where_to_run[0])
    assert model.proposal_sampler._anneal == pytest.approx(annealing_power(50, 100, 10.0))
    after.run_callback_at_location(50, after.where_to_run[0])
    assert model.proposal_sampler._step == 50
    model = model_of(proposal_warmup_steps=1000, proposal_update_every=5)
    assert [model.steps_between_updates(step) for step in (0, 500, 1000, 9000)] == [0, 2.5, 5, 5]
    powers = [annealing_power(step, 100, 10.0) for step in (0, 1, 50, 100, 5000)]
    assert powers == sorted(powers)
    assert powers[0] == 0 and powers[2] == pytest.approx(5 / 5.5) and powers[3:] == [1, 1]
    assert annealing_power(0, 0, 10.0) == 0 and annealing_power(1, 0, 10.0) == 1


@pytest.mark.parametrize("settings", [{"num_proposal_samples": (8, 8)}, {"proposal_resolutions": ()}])
def test_proposals_without_samples(settings):
    with pytest.raises(ValueError, match="K-Planes: expected as many entries in num_proposal_samples as in"):
        model_of(**settings)
