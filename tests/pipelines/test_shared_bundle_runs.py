"""Runs that start from a shared bundle: what is trained, and how they are opened again."""

import pytest
import torch
from tiny import SHARED, disturb, fit, latent_model_of, pipeline_of, small_nerf

from latent_nerfstudio.fields.placement import Placement
from latent_nerfstudio.models.bundle_writing import write_shared_bundle


@pytest.fixture(scope="module", params=["kl", "identity"])
def bundle(request, tmp_path_factory):
    """A bundle whose autoencoder is no longer the one it came from."""
    model = latent_model_of(request.getfixturevalue(request.param), nerf=small_nerf(**SHARED))
    disturb(model.latent_space.autoencoder.parameters())
    return write_shared_bundle(tmp_path_factory.mktemp("bundle") / "run", model, 7, {})


def started(data, bundle, **settings):
    """A pipeline that starts from a bundle, built anew from its config."""
    return pipeline_of(data, "bundled", shared_bundle=bundle, rgb_alignment_start=3, **settings)


def parts(pipeline):
    """Copies of what a run may train."""
    field = pipeline.model.nerf.field
    names = {"base": [field.base_planes], "weights": [field.scene_weights], "micro": [field.micro_planes]}
    everything = {**names, "mlp": list(field.mlp.parameters())}
    return {name: torch.cat([p.detach().flatten() for p in group]).clone() for name, group in everything.items()}


def train(pipeline):
    """Names of the parts that steps of both stages move."""
    before = parts(pipeline)
    fit(pipeline, range(5))
    after = parts(pipeline)
    return {name for name in before if not torch.equal(before[name], after[name])}


def test_what_a_bundle_brings_is_kept_by_default(balls, bundle):
    pipeline = started(balls, bundle)
    assert train(pipeline) == {"weights", "micro"}
    assert len(pipeline.get_param_groups()["shared_planes"]) == 2 and "mlp" not in pipeline.get_param_groups()


def test_scenes_end_at_their_own_box(balls, bundle):
    """The balls' box, of their camera files, is less than the bundle's."""
    pipeline = started(balls, bundle)
    own = pipeline.datamanager.train_dataset.metadata["scene_boxes"]
    for index, box in enumerate(own):
        assert pipeline.model.box_of(index).flatten().tolist() == pytest.approx(box.flatten().tolist())


def test_shared_parts_are_trained_where_it_is_asked_for(balls, bundle):
    assert train(started(balls, bundle, train_base_planes=True)) == {"base", "weights", "micro"}
    assert train(started(balls, bundle, train_mlp=True)) == {"weights", "micro", "mlp"}


def test_a_run_without_a_bundle_trains_everything(balls):
    pipeline = pipeline_of(balls, "bundled", nerf=small_nerf(**SHARED))
    assert train(pipeline) == {"base", "weights", "micro", "mlp"}


def test_a_field_without_base_planes_has_none_to_freeze(balls):
    pipeline = pipeline_of(balls, train_base_planes=False, train_mlp=False)
    assert list(pipeline.get_param_groups()) == ["planes"]


def test_the_bundles_numbers_are_not_fitted_again(balls, bundle):
    pipeline = started(balls, bundle)
    before = {name: value.clone() for name, value in pipeline.space.named_buffers()}
    pipeline.prepare()
    assert all(torch.equal(value, before[name]) for name, value in pipeline.space.named_buffers())


def test_moved_scenes_stay_moved_where_a_run_is_opened_again(balls, bundle):
    """Nerfstudio loads a pipeline twice, of which the second time has no weights of the model."""
    pipeline, other = started(balls, bundle), started(balls, bundle)
    count = len(pipeline.model.scene_names)
    pipeline.model.place([Placement(2.0, (0.5, 0.0, 0.0), ((-0.5,) * 3, (0.25,) * 3))] * count)
    other.load_pipeline(pipeline.state_dict(), 4)
    assert list(other.model.placements) == list(pipeline.model.placements)
