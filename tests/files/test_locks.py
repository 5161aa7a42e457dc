"""Locks: one writer, until it ends, however it ends."""

import os
import signal
import subprocess
import sys

import pytest

from latent_nerfstudio.files import locks
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
    assert not (tmp_path / "new" / LOCK).exists()


def test_a_lock_that_was_removed_while_it_was_waited_for_is_taken_anew(tmp_path, monkeypatch):
    (tmp_path / LOCK).touch()
    once, real = [tmp_path / LOCK], locks.try_lock

    def too_late(handle):
        if once:
            once.pop().unlink()
        return real(handle)

    monkeypatch.setattr(locks, "try_lock", too_late)
    with locked(tmp_path / LOCK, "here"):
        assert (tmp_path / LOCK).read_text().startswith("process")


def test_a_lock_is_free_after_an_error(tmp_path):
    with pytest.raises(KeyError), locked(tmp_path / LOCK, "here"):
        raise KeyError
    with locked(tmp_path / LOCK, "here"), held(tmp_path):
        handle = os.open(tmp_path, os.O_RDONLY)
        assert try_lock(handle) is False
        os.close(handle)
