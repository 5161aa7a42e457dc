"""Locks: one writer, until it ends, however it ends."""

import os
import signal
import subprocess
import sys
import threading

import pytest

from latent_nerfstudio.files.locks import LOCK, locked

HOLDER = """
import os, sys, time
from pathlib import Path
from latent_nerfstudio.files.locks import LOCK, locked
with locked(Path(sys.argv[1]) / LOCK, "here"):
    if os.fork() == 0:  # a child that outlives the holder, and says so when it has given up what it inherited
        print("locked", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """A process that has the lock of a folder, with a child."""
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stdout is not None and process.stdout.readline() == "locked\n"
    yield process
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()


def test_a_second_process_is_refused_until_the_first_is_gone(holder, tmp_path):
    refused = pytest.raises(BlockingIOError, match=rf"^here: expected .*got process {holder.pid} on .*; wait")
    with refused, locked(tmp_path / LOCK, "here"):
        pass
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with locked(tmp_path / LOCK, "here"):  # though its child lives
        assert (tmp_path / LOCK).read_text().startswith(f"process {os.getpid()} on ")


def refused_in_a_thread(folder):
    """Whether another thread is refused the lock of a folder."""
    refused = []

    def other():
        try:
            with locked(folder / LOCK, "here"):
                pass
        except BlockingIOError as error:
            refused.append(error)

    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    return bool(refused)


def test_a_thread_may_take_its_own_lock_again_and_another_thread_may_not(tmp_path):
    with locked(tmp_path / "new" / LOCK, "here"):
        with locked(tmp_path / "new" / LOCK, "here"):
            pass
        assert refused_in_a_thread(tmp_path / "new") and (tmp_path / "new" / LOCK).exists()
    assert not (tmp_path / "new" / LOCK).exists()


def test_folders_that_are_made_for_a_lock_and_stay_empty_go_with_it(tmp_path):
    """It is free after an error."""
    with pytest.raises(KeyError), locked(tmp_path / "new" / "deep" / LOCK, "here"):
        raise KeyError
    assert list(tmp_path.iterdir()) == [] and not refused_in_a_thread(tmp_path)
    assert list(tmp_path.iterdir()) == []
    with locked(tmp_path / "new" / "deep" / LOCK, "here"):
        (tmp_path / "new" / "written").touch()
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["written"]
    with locked(tmp_path / "new" / LOCK, "here"):
        (tmp_path / "new" / "written").unlink()
    assert (tmp_path / "new").is_dir()


@pytest.mark.parametrize("make", ["link", "fifo"])
def test_a_lock_is_a_plain_file(tmp_path, make):
    (tmp_path / "victim").write_text("kept")
    if make == "link":
        (tmp_path / LOCK).symlink_to(tmp_path / "victim")
    else:
        os.mkfifo(tmp_path / LOCK)
    with pytest.raises(FileExistsError, match="expected a lock, which"), locked(tmp_path / LOCK, "here"):
        pass
    assert (tmp_path / "victim").read_text() == "kept"
