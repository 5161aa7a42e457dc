"""Every stage on a CUDA device that only pretends: no operation mixes devices, and a step waits a few times at most."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from pretended.device import environment

FEW = ("latent supervision", "latent supervision, RGB", "RGB alignment, whole pictures", "mixed supervision", "warm-up")
WAITS = dict.fromkeys((*FEW, "saved and resumed", "latent-splatfacto"), 4)
WAITS |= {"RGB alignment, crops": 8, "joint training": 8}
"""Waits of the host for the device in a step, without the optimizer: how many rays meet the box, Nerfstudio's bins of
samples, which points the backward pass leaves out (not with the Triton kernel), and whether losses are finite; with
crops, of each picture that is seen for the first time, where its object is; with gaussians, the cameras' numbers."""

METHODS = ("nerfacto", "tensorf", "vanilla-nerf", "kplanes", "instant-ngp")
"""The other methods without tri-planes, whose waits are Nerfstudio's."""

OTHERS = ("evaluated", "run and resumed", "fit-scenes", "predicted", "gpu-check")
CASES = (*WAITS, *OTHERS, *(f"latent-{name}" for name in METHODS))


@pytest.fixture(scope="session")
def results(tmp_path_factory):
    """What `run.py` printed of each case."""
    folder = tmp_path_factory.mktemp("pretended")
    variables = environment(folder)
    if variables is None:
        pytest.skip("the pretended GPU needs a C compiler (cc or gcc), which is not installed")
    script = Path(__file__).with_name("run.py")
    done = subprocess.run([sys.executable, script, folder], env=variables, capture_output=True, text=True, timeout=900)
    found = {line["case"]: line for line in map(json.loads, done.stdout.splitlines())}
    assert set(found) == set(CASES), done.stderr[-3000:]
    return found


@pytest.mark.parametrize("case", CASES)
def test_nothing_mixes_devices_and_little_is_waited_for(results, case):
    result = results[case]
    assert "error" not in result, result["traceback"]
    assert result.get("waits", 0) <= WAITS.get(case, 1000), result["places"]


def test_what_is_written_and_checked_on_the_way(results):
    run, fitted, check = (results[case] for case in ("run and resumed", "fit-scenes", "gpu-check"))
    assert {"contact_sheet.png", "shared_bundle", "training.json"} <= set(run["first"]) and run["step"] == 5
    assert fitted["states"] == ["done", "done"]
    assert check["failed"] == [] and check["rows"] >= 5
