"""The examples in the docstrings of the Python API."""

import doctest
import importlib
import pkgutil

import pytest

import latent_nerfstudio.api

MODULES = [f"latent_nerfstudio.api.{module.name}" for module in pkgutil.iter_modules(latent_nerfstudio.api.__path__)]


@pytest.mark.parametrize("name", MODULES)
def test_examples(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_there_are_some():
    tests = doctest.DocTestFinder().find(importlib.import_module("latent_nerfstudio.api.cameras"))
    assert sum(len(test.examples) for test in tests) >= 6
