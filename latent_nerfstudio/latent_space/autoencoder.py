"""Autoencoders: images H x W x 3 in [0, 1] to raw latents h x w x C and back, all from diffusers, which is imported
inside functions, since every ns-* command loads this module. Nothing is assumed of a particular one: the downscale
factor, the number of channels and the scale of the latents are read from its configuration."""

import copy
import hashlib
import math
from abc import abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Tuple, TypeGuard, Union

import torch
import torch.nn.functional as F
from jaxtyping import Float
from nerfstudio.configs.base_config import InstantiateConfig
from torch import Tensor, nn
from torch.nn import Parameter

from latent_nerfstudio.errors import problem
from latent_nerfstudio.files.hub import PLACES, is_hub_id, resolve
from latent_nerfstudio.files.reading import read_json
from latent_nerfstudio.latent_space import shipped
from latent_nerfstudio.latent_space.checks import AGAIN, check_config, check_finite, check_priors
from latent_nerfstudio.latent_space.group_norm import replace_group_norms
from latent_nerfstudio.latent_space.resolution import pad_to_multiple
from latent_nerfstudio.latent_space.weights import kind_of, load_vae

CLASSES = {
    "AutoencoderKL": "diffusers.models.autoencoders.autoencoder_kl",
    "AutoencoderTiny": "diffusers.models.autoencoders.autoencoder_tiny",
    "AutoencoderDC": "diffusers.models.autoencoders.autoencoder_dc",
    "AutoencoderKLFlux2": "diffusers.models.autoencoders.autoencoder_kl_flux2",
}
"""Classes of diffusers that can be loaded, and where they are."""

Prior = Union[float, List[float]]
"""One number for all channels, or one for each."""

PIXELS_ON_CPU = 1 << 16
"""Pixels that a CPU encodes or decodes at once, as many as 256 x 256: larger activations leave its caches. Pictures of
256 x 256 take 47 ms encoded and 115 decoded one by one, 75 and 180 by eight (`bundled`, one core, float32)."""


@dataclass
class AutoencoderConfig(InstantiateConfig):
    """Which autoencoder to use."""

    _target: Callable[..., Any] = field(default_factory=lambda: load_autoencoder)  # type: ignore[assignment]
    source: str = "bundled"
    """`bundled` (3D-aware, of objects), `bundled-cars` (of cars), `bundled-standard` (not 3D-aware), `identity` (pixels
    are the latents), a folder in diffusers format, a run of ig-ae, or a Hugging Face Hub id (owner/name, or
    owner/name@revision)."""
    subfolder: Optional[str] = None
    """Subfolder of the folder or of the Hub repository, `vae` for instance."""
    enlarge: int = 1
    """Times that a picture's sides are enlarged before it is encoded, and made smaller after it is decoded. It divides
    the downscale factor, which it has to be a divisor of: a picture has more latent pixels, and each shows less."""


class Autoencoder(nn.Module):
    """Encoder and decoder. `factor` is the network's own downscale factor; `enlarge`, which may be set at any time, is
    how many times pictures are enlarged before. `prior_mean` and `prior_std` of raw latents are those that the
    autoencoder states, which the normaliser starts from."""

    factor: int
    enlarge: int = 1
    num_channels: int
    """C, channels of a latent."""
    prior_mean: Prior = 0.0
    prior_std: Prior = 1.0
    frozen_prefixes: Tuple[str, ...] = ()
    """State-dict prefixes of the parts that only encode: not trained and not saved with a run."""

    is_identity: bool = False
    """Whether a latent is the picture itself."""
    retired: str = ""
    """Its name, where it no longer ships."""

    @property
    def downscale_factor(self) -> int:
        """f: image pixels along the side of a latent pixel."""
        return self.factor // self.enlarge

    @property
    def device(self) -> torch.device:
        """Where it is; the host for one without parameters."""
        return next((p.device for p in self.parameters()), torch.device("cpu"))

    def at_once(self, pictures: int, height: int, width: int) -> int:
        """How many pictures of a size take the memory of `pictures` that are not enlarged; fewer on a CPU."""
        if self.device.type == "cpu":
            pictures = min(pictures, PIXELS_ON_CPU // (height * width))
        return max(1, pictures // self.enlarge**2)

    @abstractmethod
    def encode(self, images: Float[Tensor, "n height width 3"]) -> Float[Tensor, "n h w channels"]:
        """Images in [0, 1] to raw latents (the posterior's mean)."""

    @abstractmethod
    def decode(self, latents: Float[Tensor, "n h w channels"]) -> Float[Tensor, "n padded_height padded_width 3"]:
        """Raw latents to images around [0, 1], not clamped; sides are f times the latents'."""

    @abstractmethod
    def fingerprint(self) -> str:
        """Hash of what decides the latents: class, configuration and encoder weights."""

    def encoder_hash(self) -> str:
        """Hash of the encoder's weights, by which a checkpoint knows the encoder that it leaves out. Unlike
        `fingerprint` it takes no settings: releases of diffusers add some to the same autoencoder, which may cost a
        cache but never a run."""
        return self._hash("", "")

    def _hash(self, before: str, after: str) -> str:
        """Hash of the encoder's weights between two texts."""
        digest = hashlib.sha256(before.encode())
        for name, value in sorted(self.state_dict().items()):
            if name.startswith(self.frozen_prefixes):
                digest.update(f"{name}{tuple(value.shape)}".encode())
                digest.update(value.detach().float().cpu().contiguous().numpy().tobytes())
        digest.update(after.encode())
        return digest.hexdigest()[:16]

    def encoder_parameters(self) -> List[Parameter]:
        """What only joint training trains; frozen when an autoencoder is built."""
        return [p for name, p in self.named_parameters() if name.startswith(self.frozen_prefixes)]

    def decoder_parameters(self) -> List[Parameter]:
        """What RGB alignment trains."""
        return [p for name, p in self.named_parameters() if not name.startswith(self.frozen_prefixes)]

    def decoder_state(self) -> Dict[str, Tensor]:
        return {name: t for name, t in self.state_dict().items() if not name.startswith(self.frozen_prefixes)}

    def load_decoder(self, state: Dict[str, Tensor]) -> None:
        """Takes a decoder from what `decoder_state` gave; raises RuntimeError for the tensors of another."""
        own = self.state_dict()
        if set(state) != set(self.decoder_state()):
            raise RuntimeError(f"expected {len(self.decoder_state())} tensors by the decoder's names, got {len(state)}")
        self.load_state_dict({**own, **state})


class IdentityAutoencoder(Autoencoder):
    """f = 1, C = 3, nothing learned: a latent is the picture itself, so that the same code trains in RGB."""

    factor = 1
    num_channels = 3
    is_identity = True

    def encode(self, images):
        return images

    def decode(self, latents):
        return latents

    def fingerprint(self) -> str:
        return "identity"


class DiffusersAutoencoder(Autoencoder):
    """An autoencoder of diffusers, of one of `CLASSES`; all take images in [-1, 1]. `latent_space` is what a
    `latent_space.json` beside it holds: `mean` and `std` of each channel's raw latents."""

    frozen_prefixes = ("vae.encoder.", "vae.quant_conv.", "vae.bn.")  # bn: statistics of FLUX.2's latents

    def __init__(self, vae: nn.Module, latent_space: Optional[Dict[str, Any]] = None):
        from latent_nerfstudio.latent_space.residual_block import replace_residual_blocks

        super().__init__()
        self.vae: Any = vae
        config: Any = vae.config
        widths = getattr(config, "encoder_block_out_channels", None) or config.block_out_channels
        self.factor = 2 ** (len(widths) - 1)
        self.num_channels = int(config.latent_channels)
        stated = latent_space or {}
        self.prior_std = stated.get("std", 1.0 / (getattr(config, "scaling_factor", None) or 1.0))
        self.prior_mean = stated.get("mean", getattr(config, "shift_factor", None) or 0.0)
        for parameter in self.encoder_parameters():
            parameter.requires_grad_(False)
        replace_group_norms(vae)
        replace_residual_blocks(vae)
        for name, part in vae.named_children():
            if not f"vae.{name}.".startswith(self.frozen_prefixes):
                part.to(memory_format=torch.channels_last)  # as latents come: a tenth of decoding's time on a CPU

    def decoding_copy(self) -> "DiffusersAutoencoder":
        parts = (getattr(self.vae, name, None) for name in ("encoder", "quant_conv"))
        return copy.deepcopy(self, {id(part): None for part in parts if part is not None})

    def encode(self, images):
        images = images.permute(0, 3, 1, 2)
        if self.enlarge > 1:
            images = F.interpolate(images, scale_factor=self.enlarge, mode="bicubic", antialias=True).clamp(0, 1)
        latents = latents_of(self.vae.encode(pad_to_multiple(images * 2 - 1, self.factor)))
        return latents.permute(0, 2, 3, 1)

    def decode(self, latents):
        images = self.vae.decode(latents.permute(0, 3, 1, 2)).sample
        images = F.avg_pool2d(images, self.enlarge) if self.enlarge > 1 else images
        return (images.permute(0, 2, 3, 1) + 1) / 2

    def fingerprint(self) -> str:
        settings = sorted(item for item in self.vae.config.items() if not item[0].startswith("_"))
        enlarged = f"enlarged {self.enlarge}" if self.enlarge > 1 else ""
        return self._hash(f"{type(self.vae).__name__}{settings}", enlarged)


class RetiredAutoencoder(DiffusersAutoencoder):
    """An autoencoder without weights: runs of it bring their decoder, and can be looked at, but encode nothing."""

    def __init__(self, vae: nn.Module, name: str):
        super().__init__(vae)
        self.retired = name
        for parameter in self.parameters():
            parameter.data.fill_(math.nan)  # until a run brings its decoder

    def encode(self, images):
        check_not_retired(self.retired)

    def decode(self, latents):
        if self.decoder_parameters()[0].isnan().any():
            check_not_retired(self.retired)
        return super().decode(latents)

    def encoder_hash(self) -> str:
        return shipped.RETIRED[self.retired]


def check_not_retired(source: str) -> None:
    """Refuses an autoencoder that no longer ships, for all but what runs of it bring."""
    if shipped.name_of(source) in shipped.RETIRED:
        do = "take bundled or bundled-standard; what was trained with it can still be viewed, rendered and exported"
        raise ValueError(problem(f"autoencoder {source}", "one that ships", "one that no longer does", do))


def save_vae(vae: Any, folder: Path, dtype: torch.dtype = torch.float32) -> None:
    """Writes an autoencoder in diffusers format; as a copy, since files hold tensors in torch's usual order."""
    stored = copy.deepcopy(vae)
    convert: Any = torch.nn.Module.to  # diffusers' own warns that none of its modules should stay float32
    convert(stored, dtype=dtype, memory_format=torch.contiguous_format)
    stored.save_pretrained(folder)


def latents_of(output: Any) -> Float[Tensor, "n channels h w"]:
    """Raw latents that `encode` of one of diffusers' autoencoders returns: the mean, where it is a distribution."""
    if hasattr(output, "latent_dist"):
        return output.latent_dist.mode()
    return output.latents if hasattr(output, "latents") else output.latent


def load_autoencoder(config: AutoencoderConfig) -> Autoencoder:
    """Builds the autoencoder that a config names. Raises as `resolve`, and ValueError for files that are not right."""
    if config.source == "identity":
        check_enlarge(config.enlarge, IdentityAutoencoder.factor)
        return IdentityAutoencoder()
    source = shipped.name_of(config.source)
    location, subfolder = locate(source, config.subfolder)
    folder = Path(location) / (subfolder or "")
    where = f"autoencoder {folder}"
    settings = check_config(read_json(folder / "config.json", AGAIN), where)
    kind = kind_of(settings["_class_name"], CLASSES, where)
    if source in shipped.RETIRED:
        return RetiredAutoencoder(kind.from_config(settings), source)
    vae = load_vae(kind.from_config, settings, folder, where)
    numbers = {name: value for name, value in vae.state_dict().items() if value.is_floating_point()}
    check_finite(numbers, where, "take another copy")
    stated = folder / "latent_space.json"
    autoencoder = DiffusersAutoencoder(vae, read_json(stated, "remove or repair it") if stated.exists() else None)
    told = stated if stated.exists() else folder / "config.json"
    check_priors({"mean": autoencoder.prior_mean, "std": autoencoder.prior_std}, autoencoder.num_channels, told)
    check_enlarge(config.enlarge, autoencoder.factor)
    autoencoder.enlarge = config.enlarge
    return autoencoder


def is_enlargement(times: Any, factor: int) -> TypeGuard[int]:
    """Whether something out of a file is a number of times that pictures may be enlarged."""
    return type(times) is int and times > 0 and factor % times == 0


def check_enlarge(times: int, factor: int, do: str = "set --pipeline.model.autoencoder.enlarge 1") -> None:
    """Refuses to enlarge pictures beyond what an autoencoder makes smaller, or by what does not divide it."""
    if not is_enlargement(times, factor):
        expected = f"a divisor of the autoencoder's downscale factor {factor}"
        raise ValueError(problem("enlarge", expected, f"{times!r:.40}", do))


def locate(source: str, subfolder: Optional[str]) -> Tuple[str, Optional[str]]:
    """The folder of a source, of a Hub id that of its cached or downloaded copy, and the subfolder that holds it."""
    folder = shipped.FOLDERS.get(source, Path(source).expanduser())
    if folder.is_dir():
        what, use = shipped.what_is(folder)
        is_other = what != shipped.AN_AUTOENCODER[0]  # a package of the Hub, whose config.json says of what kind it is
        for candidate in (subfolder,) if subfolder else (None, *PLACES["autoencoder"][1:])[is_other:]:
            if (folder / (candidate or "") / "config.json").is_file():
                return str(folder), candidate
        got = f"{folder / (subfolder or '')} without a config.json"
        do = "name the folder that holds it, or its subfolder with --pipeline.model.autoencoder.subfolder"
        if what and is_other:
            got, do = f"{got}, {what}", use
        raise FileNotFoundError(problem("autoencoder source", "a folder in diffusers format", got, do))
    if folder.exists() or not is_hub_id(source):
        expected = f"{', '.join(shipped.BUNDLED_FOLDERS)}, identity, a folder or a Hub id (owner/name)"
        got, do = shipped.meant_by(source, (*shipped.BUNDLED_FOLDERS, "identity"))
        raise FileNotFoundError(problem("autoencoder source", expected, f"{source!r}, {got}", do))
    return str(resolve(source, "autoencoder", subfolder)), None
