"""Metrics of pictures and latents."""

import functools
import math
import shutil
from pathlib import Path

import pytest
import torch

from latent_nerfstudio.models.metrics import LPIPS_WEIGHTS, ImageMetrics, LpipsLoss, latent_psnr


def test_equal_and_plain_pictures_by_hand():
    """Without any structure SSIM is the comparison of the means, (2 a b + c) / (a^2 + b^2 + c) with c = 0.01^2."""
    photo = torch.zeros(4, 5, 3)
    assert ImageMetrics().psnr(torch.full_like(photo, 0.1), photo) == pytest.approx(20.0, abs=1e-4)
    assert ImageMetrics().psnr(torch.full_like(photo, 1.0), photo) == pytest.approx(0.0)
    photo = torch.rand(20, 30, 3)
    assert (ImageMetrics().psnr(photo, photo), ImageMetrics().ssim(photo, photo)) == pytest.approx((100, 1))
    assert latent_psnr(photo, photo, (0.0, 1.0)) == pytest.approx(100.0)
    a, b, c = 0.3, 0.6, 1e-4
    value = ImageMetrics().ssim(torch.full((20, 20, 3), a), torch.full((20, 20, 3), b))
    assert value == pytest.approx((2 * a * b + c) / (a * a + b * b + c), abs=1e-3)
    for limits, peak in (((-1.0, 1.0), 2.0), ((0.0, 1.0), 1.0), ((-math.inf, math.inf), 6.0)):
        found = latent_psnr(torch.full((3, 4, 7), 0.5), torch.zeros(3, 4, 7), limits)
        assert found == pytest.approx(20 * math.log10(peak / 0.5), abs=1e-4)


def test_what_a_mask_leaves_out_is_no_difference():
    """Kept pixels are off by 0.1, 20 dB; the others by anything at all."""
    photo, kept = torch.rand(40, 40, 3) * 0.8, torch.ones(40, 40, 1, dtype=torch.bool)
    kept[10:30, 10:30] = False
    output = torch.where(kept, photo + 0.1, torch.rand(40, 40, 3))
    metrics = ImageMetrics()
    assert metrics.psnr(output, photo, kept) == pytest.approx(20.0, abs=1e-3)
    assert latent_psnr(output, photo, (0.0, 1.0), kept) == pytest.approx(20.0, abs=1e-3)
    assert metrics.ssim(torch.where(kept, photo, output), photo, kept) == pytest.approx(1.0)
    whole = torch.ones_like(kept)
    assert metrics.ssim(output, photo, whole) == pytest.approx(metrics.ssim(output, photo))
    assert metrics.psnr(output, photo, ~whole) == pytest.approx(metrics.psnr(output, photo))  # never NaN


def test_lpips_without_its_weights_is_left_out_with_one_warning(capsys, monkeypatch, tmp_path):
    """The folder is named as it is, whatever rich would take its name for."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "[x]"))
    metrics, photo = ImageMetrics(), torch.rand(40, 40, 3)
    assert sorted(metrics(photo, photo)) == ["psnr", "ssim"]
    assert f"{tmp_path}/[x]/hub/checkpoints/alexnet-owt-7be5be79.pth" in capsys.readouterr().out
    metrics(photo, photo)
    assert "lpips" not in capsys.readouterr().out
    loss, output = LpipsLoss(), torch.rand(1, 40, 40, 3)
    assert "alexnet-owt-7be5be79.pth" in capsys.readouterr().out.replace("\n", "")
    value = loss(output, output)
    assert float(value) == 0 and value.shape == () and "lpips" not in capsys.readouterr().out


SHARED_WEIGHTS = Path(__file__).parents[3] / "shared/data/lpips"


def test_the_network_of_lpips_is_chosen_by_the_environment(monkeypatch, tmp_path):
    """Equal pictures are at 0, and more noise is farther; another network's numbers bear its name."""
    monkeypatch.setenv("LNS_LPIPS", "resnet")
    with pytest.raises(ValueError, match="alex or vgg or squeeze.*resnet"):
        ImageMetrics()
    weights = next(SHARED_WEIGHTS.glob("squeezenet*.pth"), None)
    if weights is None:
        pytest.skip("expected SqueezeNet's weights in ../shared/data/lpips, got none")
    monkeypatch.setenv("LNS_LPIPS", "squeeze")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    (tmp_path / "hub/checkpoints").mkdir(parents=True)
    shutil.copy(weights, tmp_path / "hub/checkpoints" / LPIPS_WEIGHTS["squeeze"])
    metrics, photo = ImageMetrics(), torch.rand(48, 48, 3)
    near, far = (metrics((photo + s * torch.randn(48, 48, 3)).clamp(0, 1), photo)["lpips_squeeze"] for s in (0.05, 0.4))
    assert metrics.lpips(photo, photo) == pytest.approx(0, abs=1e-6) and 0 < near < far


@pytest.fixture
def random_lpips(monkeypatch):
    """LPIPS on an AlexNet with random weights, which needs no download."""
    from torchmetrics.functional.image.lpips import _NoTrainLpips
    from torchmetrics.image import lpip

    monkeypatch.setattr(lpip, "_NoTrainLpips", functools.partial(_NoTrainLpips, pnet_rand=True))


def test_lpips_as_a_loss(random_lpips):
    """The metric's own number for each picture, averaged, with a gradient that moves the output to the target."""
    loss = LpipsLoss()
    target = torch.rand(2, 40, 48, 3)
    output = (0.5 * target + 0.25).requires_grad_()
    value = loss(output, target)
    value.backward()
    metrics = ImageMetrics()
    metrics._networks["lpips"] = loss.network
    single = [metrics.lpips(one, other) for one, other in zip(output.detach(), target, strict=True)]
    assert float(value) == pytest.approx(sum(single) / 2, rel=1e-4) and float(value) > 0
    assert bool(output.grad.isfinite().all()) and all(bool(one.any()) for one in output.grad)
    moved = output.detach() - 1e-3 * output.grad / output.grad.abs().max()
    assert float(loss(moved, target)) < float(value)
    assert float(loss(target, target)) == pytest.approx(0, abs=1e-6)
