"""What differs between releases of gsplat (1.4.0, which Nerfstudio pins, to 1.5.3) and nerfacc (0.5.2, 0.5.3); cards of
Blackwell's generation need the later ones."""

from typing import Any, Mapping

from torch import Tensor


def densify(strategy: Any, params: Any, optimizers: Any, state: Any, step: int, info: Mapping[str, Any]) -> None:
    """One step of gsplat's densification, where opacities are reset every `reset_every` steps, but not at step 0.

    gsplat 1.4.0 resets them at step 0, too, so that a run begins with a tenth of its opacity; 1.5.3 never does, for its
    condition `step % every == 0 & step > 0` is always false. A reset that both make is the same as one. Nothing is done
    where `info`, what the rasteriser has told, has no gradients (scenes not trained, no gaussian in sight)."""
    from gsplat.strategy.ops import reset_opa

    if not is_trained(info, strategy.key_for_gradient):
        return
    strategy.step_post_backward(params, optimizers, state, max(step, 1), info, packed=False)
    if 0 < step < strategy.refine_stop_iter and step % strategy.reset_every == 0:
        reset_opa(params, optimizers, state, value=2 * strategy.prune_opa)


def is_trained(info: Mapping[str, Any], key: str) -> bool:
    """Whether what the rasteriser tells of a picture gets gradients."""
    return isinstance(info.get(key), Tensor) and info[key].requires_grad


def has_nerfacc_kernels(tensor: Tensor) -> bool:
    """Whether nerfacc's kernels take a tensor: it is on a CUDA device, and they are compiled or could be, which is
    tried when this is first asked; without `nvcc` it has none, with an unfit one that fails."""
    if not tensor.is_cuda:
        return False
    try:
        from nerfacc.cuda import _backend
    except (ImportError, OSError, RuntimeError):
        return False
    return _backend._C is not None
