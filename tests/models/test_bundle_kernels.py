"""A run that starts from a bundle reads the bundle's parameters with kernels of its own."""

import pytest
from bundles import bundle_model
from tiny import small_nerf

from latent_nerfstudio.models.bundle_start import nerf_for
from latent_nerfstudio.models.bundle_writing import write_shared_bundle
from latent_nerfstudio.models.shared_bundle import read_shared_bundle


@pytest.mark.parametrize("wanted", ["auto", "triton", "torch"])
def test_kernels_are_the_runs_and_parameters_the_bundles(wanted, kl, tmp_path):
    bundle = read_shared_bundle(str(write_shared_bundle(tmp_path, bundle_model(kl), 1, {})))
    config = small_nerf()
    config.field.implementation = wanted
    field = nerf_for(bundle, config).field
    assert field.implementation == wanted and field.num_base_planes == 2
