"""A NeRF that is not ours comes to the latent space as docs/your_nerf.md says: one head, one config."""

from dataclasses import dataclass, field
from typing import Type

import torch
from nerfstudio.model_components.ray_samplers import UniformSampler
from nerfstudio.model_components.renderers import AccumulationRenderer, DepthRenderer, RGBRenderer
from nerfstudio.models.base_model import Model, ModelConfig
from tiny import camera_of, gradients, pipeline_of
from torch import nn

from latent_nerfstudio.fields.heads import Bounded
from latent_nerfstudio.models.channel_nerf import ChannelNeRF

# What somebody else wrote, for Nerfstudio


@dataclass
class WavesConfig(ModelConfig):
    _target: Type = field(default_factory=lambda: WavesModel)
    smoothness: float = 0.1


class WavesModel(Model):
    """Density and colour from sines of the position. It knows of RGB, and downloads LPIPS when it is built."""

    config: WavesConfig

    def populate_modules(self):
        super().populate_modules()
        from torchmetrics.image.lpip import LearnedPerceptualImagePatchSimilarity

        self.waves = nn.Linear(3, 24)
        self.sigma = nn.Linear(24, 1)
        self.color = nn.Sequential(nn.Linear(24, 3), nn.Sigmoid())
        self.sampler = UniformSampler(num_samples=12)
        self.renderer = RGBRenderer(background_color="white")
        self.lpips = LearnedPerceptualImagePatchSimilarity()

    def get_param_groups(self):
        return {"fields": [*self.waves.parameters(), *self.sigma.parameters(), *self.color.parameters()]}

    def get_outputs(self, ray_bundle):
        samples = self.sampler(ray_bundle)
        features = torch.sin(4 * self.waves(samples.frustums.get_positions()))
        weights = samples.get_weights(nn.functional.softplus(5 * self.sigma(features)))
        return {
            "rgb": self.renderer(rgb=self.color(features), weights=weights),
            "accumulation": AccumulationRenderer()(weights=weights),
            "depth": DepthRenderer()(weights=weights, ray_samples=samples),
        }

    def get_loss_dict(self, outputs, batch, metrics_dict=None):
        blend = self.renderer.blend_background_for_loss_computation
        rgb, image = blend(outputs["rgb"], outputs["accumulation"], batch["image"])
        smoothness = self.config.smoothness * self.waves.weight.square().mean()
        return {"rgb_loss": nn.functional.mse_loss(rgb, image), "smoothness": smoothness}


# What it takes to bring it to the latent space


class LatentWaves(ChannelNeRF, WavesModel):
    def widen_heads(self, num_channels, value_range):
        self.color = nn.Sequential(nn.Linear(24, num_channels), Bounded(value_range))


@dataclass
class LatentWavesConfig(WavesConfig):
    _target: Type = field(default_factory=lambda: LatentWaves)


def test_a_model_of_somebody_else_learns_latents_and_pictures(balls, kl):
    pipeline = pipeline_of(balls / "a", kl, nerf=LatentWavesConfig(smoothness=0.01), rgb_alignment_start=40)
    groups = pipeline.get_param_groups()
    optimizers = {name: torch.optim.Adam(group, lr=1e-2) for name, group in groups.items()}
    pipeline.train()
    latent, psnr = [], []
    for step in range(60):
        pipeline.zero_grad()
        _, losses, metrics = pipeline.get_train_loss_dict(step)
        sum(losses.values()).backward()
        assert "smoothness" in losses
        assert any(gradients(*groups["decoder"])) == (step >= 40)
        assert any(gradients(*groups["fields"]))
        for name, optimizer in optimizers.items():
            if name == "fields" or step >= 40:
                optimizer.step()
        (latent if step < 40 else psnr).append(float(metrics["latent_mse" if step < 40 else "psnr"]))
    assert sum(latent[-5:]) < 0.9 * sum(latent[:5])
    assert sum(psnr[-5:]) > sum(psnr[:5]) + 5
    outputs = pipeline.eval().model.get_outputs_for_camera(camera_of(37, 21))
    assert {name: value.shape for name, value in outputs.items()}["rgb"] == (21, 37, 3)
