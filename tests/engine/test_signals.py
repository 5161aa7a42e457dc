"""Signals: noted once, obeyed after a step, and at once the second time."""

import os
import signal
import time

import pytest

from latent_nerfstudio.engine.signals import exit_on_sigterm, stop_request


@pytest.fixture(autouse=True)
def as_they_were():
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    assert before == {number: signal.getsignal(number) for number in before}


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_is_noted(number, code, capfd):
    with stop_request() as request:
        assert request.number is None and request.exit_code == 0
        os.kill(os.getpid(), number)
        assert (request.number, request.exit_code) == (number, code)
    assert f"{number.name}: ending after this step" in capfd.readouterr().err


def test_an_ignored_signal_stays_ignored():
    """As in a process that a shell has started in the background."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with stop_request() as request:
        os.kill(os.getpid(), signal.SIGINT)
        assert request.number is None
    assert signal.signal(signal.SIGINT, signal.default_int_handler) == signal.SIG_IGN


def in_a_child(function):
    """The status that a child process ends with."""
    child = os.fork()
    if not child:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        try:
            function()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.mark.parametrize(("apart", "status"), [(0.0, 0), (1.5, -signal.SIGTERM)])
def test_a_second_signal_ends_the_process_at_once_unless_it_is_the_echo_of_the_first(apart, status):
    def twice():
        with stop_request() as request:
            os.kill(os.getpid(), signal.SIGINT)
            request.time -= apart
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.01)

    assert in_a_child(twice) == status


def test_one_who_does_not_listen_is_interrupted_and_sigterm_an_exit():
    with pytest.raises(KeyboardInterrupt), stop_request(listens=False):
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(1)
    with pytest.raises(SystemExit) as ended, exit_on_sigterm():
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(1)
    assert ended.value.code == 143
