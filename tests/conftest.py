"""What all tests share: no network, a cache folder of their own, and small autoencoders and scenes on disk."""

import functools
import inspect
import os
import signal
import sys

NOWHERE = "http://127.0.0.1:9"
os.environ.update({"HF_ENDPOINT": NOWHERE, "HTTP_PROXY": NOWHERE, "HTTPS_PROXY": NOWHERE})
os.environ.update({"http_proxy": NOWHERE, "https_proxy": NOWHERE, "no_proxy": "localhost,127.0.0.1"})

# Bytecode is kept whatever the environment says: workers and the processes that tests start run the same modules.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# A shell has what it starts in the background ignore Ctrl-C, and so would the runs that tests start and interrupt.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Nerfstudio asks for the stack at each of its external methods; to find its lines among all modules takes seconds.
inspect.stack = functools.partial(inspect.stack, context=0)

import pytest  # noqa: E402


@pytest.fixture(scope="session")
def tiny():
    """The module of small things, which imports this package: pytest-xdist reads this file, too, and runs no test."""
    import tiny

    return tiny


@pytest.fixture(scope="session", autouse=True)
def surroundings(tmp_path_factory):
    """One thread, since tests run side by side, and nothing from the user's caches."""
    import torch

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
    import torch

    torch.manual_seed(0)


@pytest.fixture(scope="session")
def kl(tiny, tmp_path_factory):
    """Folder of an AutoencoderKL with factor 4 and 4 channels."""
    return tiny.save_kl(tmp_path_factory.mktemp("kl"))


@pytest.fixture(scope="session")
def kl8(tiny, tmp_path_factory):
    """Folder of an AutoencoderKL with factor 8 and 5 channels."""
    return tiny.save_kl(tmp_path_factory.mktemp("kl8"), levels=4, channels=5)


@pytest.fixture(scope="session")
def taesd(tiny, tmp_path_factory):
    """Folder of an AutoencoderTiny with factor 2 and 4 channels."""
    return tiny.save_tiny(tmp_path_factory.mktemp("taesd"))


@pytest.fixture(scope="session")
def dc(tiny, tmp_path_factory):
    """Folder of an AutoencoderDC with factor 4 and 4 channels."""
    return tiny.save_dc(tmp_path_factory.mktemp("dc"))


@pytest.fixture(scope="session")
def balls(tiny, tmp_path_factory):
    """Folder of the scenes a, b and c: balls of different colours, six views of 32 x 32 each."""
    folder = tmp_path_factory.mktemp("balls")
    for name, tint in zip("abc", tiny.TINTS, strict=True):
        tiny.write_ball(folder / name, tint, seed=ord(name))
    return folder


@pytest.fixture(scope="session")
def mixed_sizes(tiny, tmp_path_factory):
    """Folder of the scenes large (36 x 20) and small (17 x 21)."""
    folder = tmp_path_factory.mktemp("mixed")
    tiny.write_ball(folder / "large", tiny.TINTS[0], width=36, height=20)
    tiny.write_ball(folder / "small", tiny.TINTS[1], width=17, height=21, views=4)
    return folder


@pytest.fixture(scope="session")
def identity():
    """The autoencoder that leaves RGB as it is."""
    return "identity"


@pytest.fixture
def source(request):
    """An autoencoder by the name of its fixture: `parametrize("source", ["kl", "identity"], indirect=True)`."""
    return request.getfixturevalue(request.param)
