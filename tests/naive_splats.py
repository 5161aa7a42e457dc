"""A rasteriser of gaussians in a few lines of torch, which needs no CUDA: the oracle of gsplat's, and its stand-in."""

import gsplat
import torch


def naive_rasterization(
    means, quats, scales, opacities, colors, viewmats, Ks, width, height, near_plane=0.01, eps2d=0.3, **settings
):
    """Every gaussian at every pixel, sorted by depth (3D Gaussian Splatting, section 4), for `render_mode` RGB+ED.

    Arguments and results are those of `gsplat.rasterization`; what is in `settings` does not change pictures here.
    """
    assert settings["render_mode"] == "RGB+ED" and settings["sh_degree"] is None
    local = torch.einsum("cij,nj->cni", viewmats[:, :3, :3], means) + viewmats[:, None, :3, 3]
    means2d = torch.einsum("cij,cnj->cni", Ks, local)[..., :2] / local[..., 2:]
    means2d.retain_grad() if means2d.requires_grad else None
    covariance = projected_covariance(rotations(quats) * scales[:, None], local, viewmats, Ks) + eps2d * torch.eye(
        2, device=means.device
    )
    sides = (torch.arange(count, device=means.device) + 0.5 for count in (height, width))
    rows, columns = torch.meshgrid(*sides, indexing="ij")
    offset = torch.stack([columns, rows], dim=-1)[None, None] - means2d[:, :, None, None]
    squared = torch.einsum("cnhwi,cnij,cnhwj->cnhw", offset, covariance.inverse(), offset)
    alpha = (opacities[None, :, None, None] * torch.exp(-squared / 2)).clamp(max=0.999)
    alpha = torch.where((alpha >= 1 / 255) & (local[..., 2] > near_plane)[..., None, None], alpha, 0.0)
    order = local[..., 2].argsort(dim=1)
    sorted_alpha = torch.stack([a[o] for a, o in zip(alpha, order, strict=True)])
    light = torch.cumprod(torch.cat([torch.ones_like(alpha[:, :1]), 1 - sorted_alpha[:, :-1]], dim=1), dim=1)
    weights = light * sorted_alpha
    values = torch.cat([colors.expand(len(order), -1, -1), local[..., 2:]], dim=-1)
    values = torch.stack([v[o] for v, o in zip(values, order, strict=True)])
    picture = torch.einsum("cnhw,cnd->chwd", weights, values)
    accumulation = weights.sum(dim=1)[..., None]
    depth = picture[..., -1:] / accumulation.clamp(min=1e-10)
    radii = (3 * covariance.diagonal(dim1=-2, dim2=-1).sqrt()).ceil().int()
    radii = radii if gsplat.__version__ >= "1.5" else radii.amax(dim=-1)
    info = {"means2d": means2d, "radii": radii, "width": width, "height": height, "n_cameras": len(viewmats)}
    return torch.cat([picture[..., :-1], depth], dim=-1), accumulation, {**info, "gaussian_ids": None}


def rotations(quats):
    """Rotation matrices [n, 3, 3] of quaternions (w, x, y, z), by how they turn the axes: v + 2 u x (u x v + w v)."""
    quats = torch.nn.functional.normalize(quats, dim=-1)
    axis, w = quats[:, None, 1:].expand(-1, 3, -1), quats[:, None, :1]
    vectors = torch.eye(3, device=quats.device).expand(len(quats), 3, 3)
    turned = vectors + 2 * torch.linalg.cross(axis, torch.linalg.cross(axis, vectors) + w * vectors)
    return turned.transpose(1, 2)


def projected_covariance(shape, local, viewmats, Ks):
    """J W S S^T W^T J^T, where J is the derivative of the projection at the gaussian's middle (EWA splatting)."""
    x, y, z = local.unbind(dim=-1)
    zero = torch.zeros_like(z)
    fx, fy = Ks[:, None, 0, 0].expand_as(z), Ks[:, None, 1, 1].expand_as(z)
    jacobian = torch.stack([fx / z, zero, -fx * x / z**2, zero, fy / z, -fy * y / z**2], dim=-1)
    axes = jacobian.view(*z.shape, 2, 3) @ viewmats[:, None, :3, :3] @ shape
    return axes @ axes.transpose(-1, -2)
