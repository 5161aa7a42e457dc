"""Losses of joint training, beside L_RGB and L_ae, which are plain mean squared errors."""

from typing import Literal

from jaxtyping import Float
from torch import Tensor

StopGradient = Literal["none", "encoder", "render"]


def latent_loss(
    encoded: Float[Tensor, "*batch channels"],
    rendered: Float[Tensor, "*batch channels"],
    stop: StopGradient = "none",
    scale_free: bool = True,
) -> Float[Tensor, ""]:
    """L_latent = |E(x) - R(T_s, p)|^2, a mean over everything (IG-AE; 3Da-AE), of normalised latents; 0 without any, as
    masks may leave a crop. `stop` says whose gradient is stopped; for `scale_free` see `without_scale`."""
    target = without_scale(encoded) if scale_free else encoded
    target = target.detach() if stop == "encoder" else target
    errors = (target - (rendered.detach() if stop == "render" else rendered)).square()
    return errors.mean() if errors.numel() else errors.sum()


def without_scale(latents: Float[Tensor, "*batch channels"]) -> Float[Tensor, "*batch channels"]:
    """The same latents, with a gradient that neither shifts nor scales any channel over the batch: the easiest way to
    agree with a render is to encode less, latents that shrink towards a constant. The gradient of batch normalisation
    leaves that way out (cf. batch renormalisation, Ioffe 2017), and the values stay as they are."""
    rows = latents.flatten(0, -2)
    mean, std = rows.mean(dim=0), rows.std(dim=0, correction=0).clamp(min=1e-6)
    return (latents - mean) / std * std.detach() + mean.detach()


def followed(
    rendered: Float[Tensor, "*batch channels"], encoded: Float[Tensor, "*batch channels"]
) -> Float[Tensor, "*batch channels"]:
    """A render R with the gradient of R = E(x) + r, where the error r is held: what is asked of D(R) is then asked of
    the encoder too. A straight-through estimator (Bengio et al. 2013): scenes that follow the encoder render what it
    changes, and r is noise of just the kind that the decoder will meet. Louder latents would always win against it, so
    that scale and shift have no gradient, see `without_scale`."""
    target = without_scale(encoded)
    return rendered + target - target.detach()


def latent_variation(raw: Float[Tensor, "batch h w channels"]) -> Float[Tensor, ""]:
    """Total variation of raw latents as IG-AE weighs it: the norms of the differences along rows and along columns,
    over the whole batch, divided by h + w (`compute_tv` with p, q = 2, 1)."""
    return (raw.diff(dim=1).norm() + raw.diff(dim=2).norm()) / (raw.shape[1] + raw.shape[2])
