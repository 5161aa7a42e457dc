"""A bundle that predicts scenes, and its cameras."""

import pytest
from tiny import write_bundle_with_encoder

import latent_nerfstudio as lns


@pytest.fixture(scope="session")
def bundle(tmp_path_factory):
    """In RGB; the same without a scene encoder lies beside its folder as `plain`."""
    folder = tmp_path_factory.mktemp("bundle")
    write_bundle_with_encoder(folder)
    return lns.load_bundle(folder / "run", "cpu")
