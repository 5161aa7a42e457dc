"""One tiny bundle for all tests of the fleet."""

import pytest
from tiny import SHARED, fit, pipeline_of, small_nerf

from latent_nerfstudio.models.bundle_writing import write_shared_bundle


@pytest.fixture(scope="session")
def bundle(balls, tmp_path_factory):
    """A run with a bundle in RGB, of an MLP and base planes that have seen balls."""
    pipeline = pipeline_of(balls, nerf=small_nerf(**SHARED))
    fit(pipeline, range(60), lr=0.03)
    run = tmp_path_factory.mktemp("bundle")
    write_shared_bundle(run, pipeline.model, 60, {})
    return run
