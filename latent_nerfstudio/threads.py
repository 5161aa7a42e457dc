"""How many threads a command should compute with. Imports nothing of ours, and nothing heavy."""

import contextlib
import os
from pathlib import Path

VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
"""Environment variables that libraries of numbers read when they are imported."""

QUOTA = Path("/sys/fs/cgroup/cpu.max")
"""Where a container's share of the processors is."""

LOAD = Path("/proc/loadavg")
"""Where the system says how many threads want to compute."""


def usable_cores() -> int:
    """Cores that this process may use: of its affinity, and of its container's share."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with contextlib.suppress(OSError, ValueError):
        quota, period = QUOTA.read_text().split()
        cores = min(cores, max(1, int(quota) // int(period)))
    return max(1, cores)


def busy_cores() -> int:
    """Threads of others that want to compute, both now and over the last minute; 0 where the system does not tell."""
    with contextlib.suppress(OSError, ValueError):
        load, _, _, running, *_ = LOAD.read_text().replace("/", " ").split()
        return max(0, min(round(float(load)), int(running) - 1))
    return 0


def number_of_threads() -> int:
    """The user's number of threads, up to the cores; by default as many as are idle: threads that wait cost time."""
    cores = usable_cores()
    given = [int(value) for value in map(os.environ.get, VARIABLES) if value and value.isdigit() and int(value)]
    return min(given[0], cores) if given else max(1, cores - busy_cores())


def choose_threads() -> None:
    """Says in the environment how many threads to take, before libraries that read it are imported."""
    os.environ.update(dict.fromkeys(VARIABLES, str(number_of_threads())))
