"""Locks: one writer, until it ends, however it ends."""

import os
import signal
import subprocess
import sys

import pytest

from latent_nerfstudio.files.locks import LOCK, held, locked, try_lock

HOLDER = """
import sys, time
from pathlib import Path
from latent_nerfstudio.files.locks import LOCK, locked
with locked(Path(sys.argv[1]) / LOCK, "here"):
    print("locked", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """A process that has the lock of a folder."""
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "locked\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_a_second_process_is_refused_until_the_first_is_gone(holder, tmp_path):
    expected = rf"^here: expected to be the only one .*, got process {holder.pid} on .* at work; wait"
    with pytest.raises(BlockingIOError, match=expected), locked(tmp_path / LOCK, "here"):
        pass
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with locked(tmp_path / LOCK, "here"):
        assert (tmp_path / LOCK).read_text().startswith(f"process {os.getpid()} on ")


def test_a_process_may_take_its_own_lock_again(tmp_path):
    with locked(tmp_path / "new" / LOCK, "here"):
        with locked(tmp_path / "new" / LOCK, "here"):
            pass
        handle = os.open(tmp_path / "new" / LOCK, os.O_RDWR)
        assert try_lock(handle) is False
        os.close(handle)
    handle = os.open(tmp_path / "new" / LOCK, os.O_RDWR)
    assert try_lock(handle) is True
    os.close(handle)


def test_a_lock_is_free_after_an_error(tmp_path):
    with pytest.raises(KeyError), locked(tmp_path / LOCK, "here"):
        raise KeyError
    with locked(tmp_path / LOCK, "here"), held(tmp_path):
        handle = os.open(tmp_path, os.O_RDONLY)
        assert try_lock(handle) is False
        os.close(handle)
