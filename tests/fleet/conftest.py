"""One tiny bundle for all tests of the fleet."""

import pytest
import torch
from tiny import pipeline_of, small_nerf

from latent_nerfstudio.models.bundle_writing import write_shared_bundle


@pytest.fixture(scope="session")
def bundle(balls, tmp_path_factory):
    """A run with a bundle in RGB, of an MLP and base planes that have seen balls."""
    pipeline = pipeline_of(balls, nerf=small_nerf(macro_features=3, num_base_planes=2))
    pipeline.prepare()
    optimizer = torch.optim.Adam(pipeline.parameters(), lr=0.03)
    for step in range(60):
        optimizer.zero_grad()
        sum(pipeline.get_train_loss_dict(step)[1].values()).backward()
        optimizer.step()
    run = tmp_path_factory.mktemp("bundle")
    write_shared_bundle(run, pipeline.latent_model, 60, {})
    return run
