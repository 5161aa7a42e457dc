"""The benchmark of killed runs, in short: nothing is lost, and it notices where something is."""

import importlib.util
import io
import os
import random
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from latent_nerfstudio.data import latent_cache

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "chaos.py"


@pytest.fixture(scope="module")
def chaos():
    """The benchmark as a module."""
    spec = importlib.util.spec_from_file_location("chaos", BENCHMARK)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["chaos"] = module  # where its dataclasses look for their types
    spec.loader.exec_module(module)
    yield module
    del sys.modules["chaos"]


def test_nothing_is_lost(chaos):
    assert chaos.Chaos(kills=1, at_writes=1, damages=0, jobs=("cache",), output=None).main() == 0


def test_files_that_are_written_in_place_are_noticed(chaos, monkeypatch, tmp_path):
    """Killed before a call that changes the disk, each of them once."""

    @contextmanager
    def in_place(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT), "wb", buffering=0) as stream:
            content = io.BytesIO()
            yield content
            stream.write(content.getvalue()[:1000])
            os.fsync(stream.fileno())
            stream.write(content.getvalue()[1000:])

    def begin(folder):
        latents = [chaos.torch.ones(50, 50) for _ in range(chaos.VIEWS - 1)]
        latent_cache._write(folder / "cache" / "a.safetensors", latents)

    job = chaos.Job("write", begin, chaos.cache_contents, chaos.broken_cache)
    for broken in (False, True):
        if broken:
            monkeypatch.setattr(latent_cache, "replacing_file", in_place)
        chaos.measure(job, tmp_path / str(broken) / "expected")
        outcomes = set()
        for number in range(1, job.writes + 1):
            folder = tmp_path / f"{broken}-{number}"
            monkeypatch.setattr(random.Random, "randrange", lambda *_, number=number: number)
            outcomes.add(chaos.kill_once(job, folder, "write", random.Random(0))["outcome"])
        assert outcomes == ({chaos.OUTCOMES[0], chaos.OUTCOMES[2]} if broken else {chaos.OUTCOMES[0]})


@pytest.mark.parametrize("kind", ["cut", "a block of zeros", "a bit"])
def test_damages_change_records(chaos, kind, tmp_path):
    path = tmp_path / "state.ckpt"
    chaos.torch.save({"a": chaos.torch.arange(3000.0), "b": [1, 2]}, path)
    data, places = path.read_bytes(), chaos.record_places(path)
    for seed in range(5):
        damaged = chaos.DAMAGES[kind](data, places, random.Random(seed))
        assert damaged != data and (len(damaged) == len(data)) == (kind != "cut")
