"""The benchmark of killed runs, in short: of files written whole nothing is lost, and it notices where something is."""

import importlib.util
import os
import random
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from unittest.mock import patch

from latent_nerfstudio.data import latent_cache

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "chaos.py"

LONGEST = 300
"""Seconds that a fresh process may take, which imports all first."""


def load_chaos():
    spec = importlib.util.spec_from_file_location("chaos", BENCHMARK)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["chaos"] = module  # where its dataclasses look for their types
    spec.loader.exec_module(module)
    return module


def in_place(path, data):
    """Writes a file where it stays."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT), "wb", buffering=0) as stream:
        stream.write(data[:1000])
        os.fsync(stream.fileno())
        stream.write(data[1000:])


def outcomes_of_kills(folder, broken):
    """What becomes of latents whose writing is killed before a call that changes the disk, each of them once; and the
    outcomes that there are."""
    chaos = load_chaos()

    def begin(folder):
        latents = [chaos.torch.ones(50, 50) for _ in range(chaos.VIEWS - 1)]
        latent_cache._write(folder / "cache" / "a.safetensors", latents)

    job, outcomes = chaos.Job("write", begin, chaos.cache_contents, chaos.broken_cache), set()
    with patch.object(latent_cache, "write_bytes", in_place if broken else latent_cache.write_bytes):
        chaos.measure(job, folder / "expected")
        for number in range(1, job.writes + 1):
            with patch.object(random.Random, "randrange", lambda *_, number=number: number):
                outcomes.add(chaos.kill_once(job, folder / str(number), "write", random.Random(0))["outcome"])
    return outcomes, chaos.OUTCOMES


def campaign(folder):
    """Kills of writers that write whole and in place; in a process of its own, since a fork of one whose threads have
    computed can hang."""
    return [outcomes_of_kills(folder / str(broken), broken) for broken in (False, True)]


def test_files_that_are_written_in_place_are_noticed(tmp_path):
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        (whole, known), (in_parts, _) = pool.submit(campaign, tmp_path).result(timeout=LONGEST)
    assert (whole, in_parts) == ({known[0]}, {known[0], known[2]})
