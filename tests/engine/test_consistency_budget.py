"""The measurement: a consistent latent space, and the same one made inconsistent; groups, sizes and checks."""

from dataclasses import asdict, dataclass, field, replace
from typing import Any, Callable

import pytest
import torch
from rich.markup import render
from scene_folders import edited
from tiny import TINTS, datamanager_of, write_ball
from torch.nn import Parameter

from latent_nerfstudio.data.scenes_dataparser import read_scenes
from latent_nerfstudio.engine import consistency
from latent_nerfstudio.engine.consistency import Budget, check_scenes, measure_consistency
from latent_nerfstudio.latent_space.autoencoder import AutoencoderConfig, IdentityAutoencoder

BUDGET = Budget(steps=100, rays_per_scene=256)


@dataclass
class ShiftedConfig(AutoencoderConfig):
    """RGB with an offset that is drawn for each picture."""

    _target: Callable[..., Any] = field(default_factory=lambda: Shifted)
    source: str = "shifted"
    """Unused."""
    scale: float = 0.0
    """Standard deviation of the offsets."""


class Shifted(IdentityAutoencoder):
    """A consistent latent space with what no scene explains on top."""

    is_identity = False

    def __init__(self, config: ShiftedConfig):
        super().__init__()
        self.scale = config.scale
        self.unused = Parameter(torch.zeros(1))

    def offset(self, image):
        generator = torch.Generator().manual_seed(int(image.double().sum() * 1e4))
        return self.scale * torch.randn(3, generator=generator)

    def encode(self, images):
        return images + torch.stack([self.offset(image) for image in images])[:, None, None]

    def fingerprint(self) -> str:
        return f"shifted-{self.scale}"


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    """Folder of two balls, twenty views of 24 x 24, two of them held out."""
    folder = tmp_path_factory.mktemp("two")
    for name, tint in zip("ab", TINTS, strict=False):
        write_ball(folder / name, tint, views=20, width=24, height=24, seed=ord(name))
    return folder


def measure(data, autoencoder, budget=BUDGET):
    return measure_consistency(data, check_scenes(data, None, [1]), autoencoder, budget)


def test_rgb_is_consistent_and_offsets_are_not(scenes):
    exact = measure(scenes, AutoencoderConfig(source="identity")).together
    assert exact.residual < 0.06 and exact.residual_object < 0.2 and exact.psnr > 23
    assert exact.autoencoder_psnr == pytest.approx(100)
    shifted = measure(scenes, ShiftedConfig(scale=0.3)).together
    share = share_of_offsets(scenes, Shifted(ShiftedConfig(scale=0.3)))
    assert 0.4 < share < shifted.residual and shifted.consistency < 2 < exact.consistency


def share_of_offsets(data, autoencoder) -> float:
    """Of the variance of the held-out latents, a mean over channels, since they are normalised."""
    manager = datamanager_of(data)
    images = torch.stack([picture["image"] for picture in manager.cached_eval]).float() / 255
    offsets = torch.stack([autoencoder.offset(image) for image in images])
    latents = autoencoder.encode(images).flatten(0, 2)
    return float((offsets.var(dim=0, correction=0) / latents.var(dim=0, correction=0)).mean())


def test_the_same_seed_gives_the_same_numbers_and_the_bar_names_an_autoencoder_as_it_is(scenes, monkeypatch):
    few, told = Budget(steps=2, rays_per_scene=64), []
    fit, odd = consistency.fit, ShiftedConfig(source="[shifted]")
    monkeypatch.setattr(
        consistency, "fit", lambda p, steps, text: told.append(render(text).plain) or fit(p, steps, text)
    )
    first, second, other = (measure(scenes, odd, budget) for budget in (few, few, replace(few, seed=1)))
    assert asdict(first.together) == asdict(second.together) != asdict(other.together)
    assert first.scenes == second.scenes and told == ["[shifted], scenes 1 to 2 of 2"] * 3


def test_groups_share_the_latent_space(scenes, kl, monkeypatch):
    monkeypatch.setattr(consistency, "SCENES_AT_ONCE", 1)
    states, measure_scenes = [], consistency.measure_scenes
    monkeypatch.setattr(consistency, "measure_scenes", lambda p: states.append(p.space) or measure_scenes(p))
    result = measure(scenes, AutoencoderConfig(source=str(kl)), Budget(steps=2, rays_per_scene=64))
    assert list(result.scenes) == ["a", "b"] and len(states) == 2
    assert torch.equal(states[0].normalizer.mean, states[1].normalizer.mean)
    assert (result.downscale_factor, result.num_channels, result.resolution) == (4, 4, 16)


@pytest.mark.parametrize(("factor", "texels"), [(1, 64), (2, 36), (4, 18), (8, 16)])
def test_planes_follow_the_longer_side(mixed_sizes, factor, texels):
    assert consistency.plane_resolution(read_scenes(mixed_sizes), factor) == texels


def test_pictures_that_are_smaller_than_a_latent_pixel_and_scenes_without_training_views(mixed_sizes, tmp_path):
    assert len(check_scenes(mixed_sizes, 1, [20])) == 1
    with pytest.raises(ValueError, match="expected pictures of at least 32 pixels a side.*got 20 in large"):
        check_scenes(mixed_sizes, None, [1, 32])
    folder = write_ball(tmp_path / "ball", views=4)
    with edited(folder / "transforms.json") as meta:
        meta["val_filenames"] = [frame["file_path"] for frame in meta["frames"]]
    with pytest.raises(ValueError, match="expected training views in each scene, got none in ball"):
        check_scenes(folder, None, [1])
