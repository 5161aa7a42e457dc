"""The estimate of a run's memory: by hand, against what a run takes, and as the user sees it."""

import gc
import subprocess
import sys
import weakref
from pathlib import Path

import pytest
import torch
from tiny import joint_pipeline_of, pipeline_of, small_nerf
from torch import nn

from latent_nerfstudio.engine.memory import (
    PLANE_COPIES,
    Sizes,
    autoencoder_bytes_an_image,
    check,
    check_memory,
    estimate,
    saved_bytes,
    sizes_of,
    step_bytes,
    total,
)

SIZES = Sizes(
    scenes=10,
    scenes_per_step=2,
    scene_bytes=1000,
    shared_bytes=70,
    trained_shared_bytes=50,
    autoencoder_bytes=300,
    trained_autoencoder_bytes=200,
    picture_bytes=4000,
    latent_bytes=500,
    features=5,
    texels=12,
)


def with_(**changes):
    return Sizes(**{**vars(SIZES), **changes})


def test_an_estimate_by_hand():
    device, host = estimate(SIZES)
    step = PLANE_COPIES * 4 * 5 * 12 * 2
    assert device == {"planes": 1070, "optimizer": 3 * 250 + 2000, "step": step, "autoencoder": 300}
    assert host == {"latents": 500, "pictures": 4000}
    assert total(device, host)["planes"] == 1070 and sum(total(device, host).values()) == 8620 + step


def test_what_lies_elsewhere_or_nowhere():
    device, host = estimate(with_(scenes_on_host=True))
    assert (device["planes"], device["optimizer"]) == (70, 750) and (host["planes"], host["optimizer"]) == (1000, 2000)
    device, host = estimate(with_(pictures_on_device=True))
    assert device["pictures"] == 4000 and host == {"latents": 500}
    _, host = estimate(with_(is_streamed=True))
    assert host == {"latents": 0, "pictures": 0}


def test_a_step_grows_with_its_points_or_its_pictures():
    narrow, wide = (step_bytes(Sizes(points=1000, features=f, hidden=64)) for f in (10, 32))
    assert wide > narrow > 0
    assert step_bytes(Sizes(points=2000, features=10, hidden=64)) == 2 * narrow
    assert step_bytes(Sizes(points=1, image_bytes=12345678)) == 12345678


def test_the_line_and_the_error():
    needed = {"planes": 2_000_000_000, "pictures": 500_000_000, "step": 0}
    assert (
        check(needed, 3_000_000_000, "host") == "memory: about 2.50 of 3.00 GB on the host (planes 2.00, pictures 0.50)"
    )
    message = (
        r"^memory: expected at most 2.40 GB on the H200, got an estimate of 2.50 GB \(planes 2.00, pictures 0.50\); "
        r"train fewer scenes .*scene-storage host$"
    )
    with pytest.raises(MemoryError, match=message):
        check(needed, 2_400_000_000, "H200")
    with pytest.raises(
        MemoryError, match="got an estimate of 30 GB .*; set --pipeline.datamanager.latent-storage stream"
    ):
        check({"latents": 30_000_000_000}, 0, "host")


def test_saved_bytes_of_a_product():
    """x * y saves both factors, once each; parameters are not counted."""
    x, y = torch.ones(100, requires_grad=True), torch.ones(100, requires_grad=True)
    assert saved_bytes(lambda: (x * y) * 2) == 800
    assert saved_bytes(lambda: x * nn.Parameter(torch.ones(100))) == 400
    assert saved_bytes(lambda: x + y) == 0


def test_what_was_measured_is_let_go():
    """An exponential saves its own result, which would keep itself alive with its graph."""
    made, x = [], torch.ones(100, requires_grad=True)

    def function():
        result = x.exp()
        made.append(weakref.ref(result))
        return result

    assert saved_bytes(function) == 400
    gc.collect()
    assert made[0]() is None


def test_the_sizes_of_a_run(balls, kl):
    nerf = small_nerf(macro_features=3, num_base_planes=2)
    pipeline = pipeline_of(balls, kl, rgb_alignment_start=3, nerf=nerf)
    sizes = sizes_of(pipeline)
    field = pipeline.latent_model.nerf.field
    assert sizes.scenes == 3 and sizes.scene_bytes == 4 * 3 * (3 * 4 * 8 * 8 + 2) and not sizes.scenes_on_host
    shared = 4 * (2 * 3 * 3 * 8 * 8 + sum(p.numel() for p in field.mlp.parameters()))
    assert sizes.trained_shared_bytes == shared <= sizes.shared_bytes < shared + 100
    assert sizes.picture_bytes == 15 * 32 * 32 * 3 and sizes.latent_bytes == 15 * 8 * 8 * 4 * 2
    assert sizes.points == 512 * 12 and sizes.features == 7 and sizes.texels == 192 and sizes.hidden == 16
    assert sizes.autoencoder_bytes > sizes.trained_autoencoder_bytes > 0
    assert sizes.image_bytes == 4 * autoencoder_bytes_an_image(pipeline, 64) > 0
    assert sizes_of(pipeline_of(balls, kl)).image_bytes == 0 == sizes_of(pipeline_of(balls)).image_bytes
    joint = joint_pipeline_of(balls, kl)
    assert autoencoder_bytes_an_image(joint, 64) > 2 * autoencoder_bytes_an_image(pipeline, 64)
    assert pipeline.datamanager.table is None


def test_the_estimate_changes_nothing(balls, kl):
    first, second = pipeline_of(balls, kl, rgb_alignment_start=3), pipeline_of(balls, kl, rgb_alignment_start=3)
    state = torch.random.get_rng_state()
    check_memory(first)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert all(p.grad is None for p in first.parameters())
    for name, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[name]), name


MEASURE = """
import sys
from pathlib import Path
import torch
torch.set_num_threads(1)
sys.path[:0] = [{tests!r}]
from tiny import pipeline_of, small_nerf, write_ball
from latent_nerfstudio.engine.memory import estimate, sizes_of, total
from latent_nerfstudio.engine.row_adam import RowAdam

def peak():
    # not getrusage, which counts the process that started this one
    return 1024 * int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])

def run(folder, nerf, **manager):
    pipeline = pipeline_of(folder, nerf=nerf, datamanager=manager)
    needed = total(*estimate(sizes_of(pipeline)))
    pipeline.prepare()
    optimizer = RowAdam([p for group in pipeline.get_param_groups().values() for p in group])
    for step in range(3):
        optimizer.zero_grad()
        sum(pipeline.get_train_loss_dict(step)[1].values()).backward()
        optimizer.step()
    return sum(needed.values())

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
