"""The estimate of a run's memory: by hand, against what a run takes, and as the user sees it."""

import gc
import subprocess
import sys
import weakref
from copy import deepcopy
from pathlib import Path

import pytest
import torch
from tiny import SHARED, joint_pipeline_of, pipeline_of, small_nerf
from torch import nn

from latent_nerfstudio.engine import memory
from latent_nerfstudio.engine.memory import autoencoder_bytes_an_image, check, check_memory, needed_bytes, saved_bytes


@pytest.fixture
def pipeline(balls, kl):
    return pipeline_of(balls, kl, rgb_alignment_start=3, nerf=small_nerf(**SHARED))


def test_an_estimate_by_hand(pipeline):
    """15 pictures of 32 x 32 pixels, f = 4, C = 4; three scenes of 8 x 8 texels, F_mic = 4, F = 7, M = 2."""
    device, host = needed_bytes(pipeline)
    field, autoencoder = pipeline.model.nerf.field, list(pipeline.space.autoencoder.parameters())
    scenes = 4 * 3 * (3 * 4 * 8 * 8 + 2)
    shared = 4 * (2 * 3 * 3 * 8 * 8 + sum(p.numel() for p in field.mlp.parameters()))
    decoder = 4 * sum(p.numel() for p in autoencoder if p.requires_grad)
    assert scenes + shared <= device["planes"] < scenes + shared + 100
    assert device["optimizer"] == 2 * scenes + 3 * (shared + decoder)
    assert device["autoencoder"] == 4 * sum(p.numel() for p in autoencoder) > decoder > 0
    assert host == {"latents": 15 * 8 * 8 * 4 * 2, "pictures": 15 * 32 * 32 * 3}
    pictures = 4 * autoencoder_bytes_an_image(pipeline, 64)
    points = 512 * 12 * (memory.FEATURE_BYTES * 7 + memory.HIDDEN_BYTES * 16 + memory.POINT_BYTES)
    assert device["step"] == memory.PLANE_COPIES * 4 * 192 * 7 * 3 + max(points, pictures)
    assert pipeline.datamanager.table is None


def test_what_encoding_takes_by_hand(pipeline, monkeypatch):
    """Before, a scene of photos of 144 megapixels ended the whole call of `lns fit-scenes`, killed by the system."""
    autoencoder, cameras = pipeline.space.autoencoder, pipeline.datamanager.train_dataset.cameras
    monkeypatch.setattr(memory, "has_bfloat16", lambda device: False)
    width = autoencoder.vae.config.block_out_channels[0]
    a_pixel = memory.ENCODING_COPIES * 4 * width
    assert memory.encoding_bytes(pipeline) == a_pixel * 32 * 32 * 15  # all pictures at once
    cameras.height[2], cameras.width[2] = 12_000, 10_000
    assert memory.encoding_bytes(pipeline) == a_pixel * 12_000 * 10_000  # one at once
    device, _ = needed_bytes(pipeline)
    assert device["step"] + device["encoding"] == max(device["step"], a_pixel * 12_000 * 10_000)
    autoencoder.enlarge = 2
    assert memory.encoding_bytes(pipeline) == 4 * a_pixel * 12_000 * 10_000
    monkeypatch.setattr(memory, "free_host_bytes", lambda: 10**9)
    with pytest.raises(MemoryError, match="memory: expected at most 1.0. GB on the host, got .*; "):
        check_memory(pipeline)
    with pytest.raises(MemoryError, match=r"got .* 30 GB \(encoding 30\); make the photos smaller"):
        check({"encoding": 30_000_000_000}, 0, "host")


def test_activations_of_the_autoencoder_and_what_is_streamed(pipeline, balls, kl):
    streamed = pipeline_of(balls, kl, datamanager={"latent_storage": "stream"})
    assert needed_bytes(streamed)[1] == {"latents": 0, "pictures": 0}
    others = pipeline_of(balls), pipeline_of(balls, kl), pipeline, joint_pipeline_of(balls, kl)
    rgb, without_alignment, aligned, joint = (autoencoder_bytes_an_image(one, 64) for one in others)
    assert rgb == without_alignment == 0 and joint > 2 * aligned > 0


def test_the_line_and_the_error():
    needed = {"planes": 2_000_000_000, "pictures": 500_000_000, "step": 0}
    line = "memory: about 2.50 of 3.00 GB on the host (planes 2.00, pictures 0.50)"
    assert check(needed, 3_000_000_000, "host") == line
    message = r"^memory: expected at most 2.40 GB on the H200, got .* 2.50 GB \(planes 2.00, pictures 0.50\); train"
    with pytest.raises(MemoryError, match=f"{message} fewer scenes .*field.resolution$"):
        check(needed, 2_400_000_000, "H200")
    with pytest.raises(MemoryError, match="got .* 30 GB .*; set --pipeline.datamanager.latent-storage stream"):
        check({"latents": 30_000_000_000}, 0, "host")


def test_saved_bytes_of_a_product_and_what_was_measured_is_let_go():
    """x * y saves both factors, once each; parameters are not counted. An exponential saves its own result, which would
    keep itself alive with its graph."""
    x, y = torch.ones(100, requires_grad=True), torch.ones(100, requires_grad=True)
    assert saved_bytes(lambda: (x * y) * 2) == 800
    assert saved_bytes(lambda: x * nn.Parameter(torch.ones(100))) == 400
    assert saved_bytes(lambda: x + y) == 0
    made = []

    def function():
        result = x.exp()
        made.append(weakref.ref(result))
        return result

    assert saved_bytes(function) == 400
    gc.collect()
    assert made[0]() is None


def test_the_estimate_changes_nothing(pipeline):
    state, before = torch.random.get_rng_state(), deepcopy(pipeline.state_dict())
    check_memory(pipeline)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(p.grad is None for p in pipeline.parameters())
    for name, value in pipeline.state_dict().items():
        assert torch.equal(value, before[name]), name


MEASURE = """
import sys
from pathlib import Path
import torch
torch.set_num_threads(1)
sys.path[:0] = [{tests!r}]
from tiny import pipeline_of, small_nerf, write_ball
from latent_nerfstudio.engine.memory import needed_bytes
from latent_nerfstudio.engine.row_adam import RowAdam

def peak():
    # not getrusage, which counts the process that started this one
    return 1024 * int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])

def run(folder, nerf, **manager):
    pipeline = pipeline_of(folder, nerf=nerf, datamanager=manager)
    needed = sum(sum(part.values()) for part in needed_bytes(pipeline))
    pipeline.prepare()
    optimizer = RowAdam([p for group in pipeline.get_param_groups().values() for p in group])
    for step in range(2):
        optimizer.zero_grad()
        sum(pipeline.get_train_loss_dict(step)[1].values()).backward()
        optimizer.step()
    return needed

folder = Path({folder!r})
for name in "abcd":
    write_ball(folder / name, seed=ord(name))
run(folder, small_nerf())
base = peak()
needed = run(folder, small_nerf(micro_features=16, resolution=256, hidden_width=64), rays_per_batch=16384)
print(needed, peak() - base)
"""


def test_the_estimate_against_a_run(tmp_path):
    """Within a factor of 1.5: four scenes of 256 x 256 texels, and 196,608 points a step."""
    tests = str(Path(__file__).resolve().parents[1])
    script = MEASURE.format(tests=tests, folder=str(tmp_path / "data"))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    needed, taken = map(int, done.stdout.split()[-2:])
    assert taken > 200e6 and taken / 1.5 < needed < taken * 1.5, (needed, taken)
