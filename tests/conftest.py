"""What all tests share: no network, a cache folder of their own, and small autoencoders and scenes on disk."""

import os

NOWHERE = "http://127.0.0.1:9"
os.environ.update({"HF_ENDPOINT": NOWHERE, "HTTP_PROXY": NOWHERE, "HTTPS_PROXY": NOWHERE})
os.environ.update({"http_proxy": NOWHERE, "https_proxy": NOWHERE, "no_proxy": "localhost,127.0.0.1"})

import pytest  # noqa: E402
import torch  # noqa: E402
from tiny import TINTS, save_dc, save_kl, save_tiny, write_ball  # noqa: E402


@pytest.fixture(scope="session", autouse=True)
def surroundings(tmp_path_factory):
    """One thread, since tests run side by side, and nothing from the user's caches."""
    torch.set_num_threads(1)
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setenv("XDG_CACHE_HOME", str(home / "cache"))
        patch.setenv("TORCH_HOME", str(home / "torch"))
        yield


@pytest.fixture(autouse=True)
def seed():
    """Each test starts from the same random state, in whichever order they run."""
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def kl(tmp_path_factory):
    """Folder of an AutoencoderKL with factor 4 and 4 channels."""
    return save_kl(tmp_path_factory.mktemp("kl"))


@pytest.fixture(scope="session")
def kl8(tmp_path_factory):
    """Folder of an AutoencoderKL with factor 8 and 5 channels."""
    return save_kl(tmp_path_factory.mktemp("kl8"), levels=4, channels=5)


@pytest.fixture(scope="session")
def taesd(tmp_path_factory):
    """Folder of an AutoencoderTiny with factor 2 and 4 channels."""
    return save_tiny(tmp_path_factory.mktemp("taesd"))


@pytest.fixture(scope="session")
def dc(tmp_path_factory):
    """Folder of an AutoencoderDC with factor 4 and 4 channels."""
    return save_dc(tmp_path_factory.mktemp("dc"))


@pytest.fixture(scope="session")
def balls(tmp_path_factory):
    """Folder of the scenes a, b and c: balls of different colours, six views of 32 x 32 each."""
    folder = tmp_path_factory.mktemp("balls")
    for name, tint in zip("abc", TINTS, strict=True):
        write_ball(folder / name, tint, seed=ord(name))
    return folder


@pytest.fixture(scope="session")
def mixed_sizes(tmp_path_factory):
    """Folder of the scenes large (36 x 20) and small (17 x 21)."""
    folder = tmp_path_factory.mktemp("mixed")
    write_ball(folder / "large", TINTS[0], width=36, height=20)
    write_ball(folder / "small", TINTS[1], width=17, height=21, views=4)
    return folder


@pytest.fixture(scope="session")
def identity():
    """The autoencoder that leaves RGB as it is."""
    return "identity"


@pytest.fixture
def source(request):
    """An autoencoder by the name of its fixture: `parametrize("source", ["kl", "identity"], indirect=True)`."""
    return request.getfixturevalue(request.param)
