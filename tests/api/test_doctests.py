"""The examples in the docstrings of the Python API."""

import doctest
import importlib
import pkgutil

import latent_nerfstudio.api


def test_examples():
    found = pkgutil.iter_modules(latent_nerfstudio.api.__path__, "latent_nerfstudio.api.")
    results = [doctest.testmod(importlib.import_module(module.name)) for module in found]
    assert sum(result.failed for result in results) == 0 and sum(result.attempted for result in results) >= 6
