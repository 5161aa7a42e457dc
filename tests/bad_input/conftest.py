"""The kit, made once a worker."""

import pytest
from kit import make_kit


@pytest.fixture(scope="session")
def kit(tmp_path_factory, surroundings):
    """Folder of small whole things of every kind."""
    return make_kit(tmp_path_factory.mktemp("kit"))
