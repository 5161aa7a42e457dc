"""Tri-plane lookup and tiny MLP in one Triton kernel each way, for CUDA; `triplane_torch` is the twin in plain torch.

Nothing but the outputs is written forwards: features and hidden units stay in registers, and the backward pass makes
them again from the positions. Planes may be float32, float16 or bfloat16; sums are in float32. Matrix products are of
TF32 numbers where `torch.backends.cuda.matmul.allow_tf32` says so, else sums of three such products, as exact as
float32. Gradients of planes are added up atomically, so that their last bits differ from run to run; those of the MLP
are summed by each program over its points, and then over programs.

Without a GPU the kernels run in Triton's interpreter, if TRITON_INTERPRET=1 is set before Triton is imported."""

# Triton's types know neither what a kernel's grid makes of its arguments nor its own loops.
# pyright: reportArgumentType=false, reportCallIssue=false, reportGeneralTypeIssues=false

import os
from typing import Any

import torch
import triton
import triton.language as tl
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from latent_nerfstudio.errors import problem
from latent_nerfstudio.kernels.triplane_torch import Axes, TinyMLP

BLOCK = 16
"""Points that a program handles at once; of 32, each thread would spill 1.5 KB of registers (tests/kernels)."""

LARGEST = {"features": 64, "hidden": 128, "outputs": 64}
"""Sizes up to which the kernels fit the shared memory of every GPU since compute capability 8.0, at least 99 KB."""

INTERPRETED = os.environ.get("TRITON_INTERPRET", "0") == "1"
"""Whether kernels run in Triton's interpreter, on the CPU."""


def sizes_of(weights: Any) -> dict[str, int]:
    hidden, features = weights[0].shape
    return {"features": features, "hidden": hidden, "outputs": len(weights[3])}


def fits(mlp: TinyMLP) -> bool:
    return all(size <= LARGEST[name] for name, size in sizes_of(mlp).items())


def triplane_mlp(
    planes: Float[Tensor, "scenes 3 rows cols features"],
    positions: Float[Tensor, "points 3"],
    slots: Int[Tensor, "points"],
    mlp: TinyMLP,
    axes: Axes,
    negligible: float = 0.0,
) -> Float[Tensor, "points outputs"]:
    """See `triplane_torch.triplane_mlp`, whose arguments and results are the same."""
    do = "set --pipeline.model.nerf.field.implementation auto"
    if not (positions.is_cuda or INTERPRETED):
        raise ValueError(problem("Triton kernel", "tensors on a CUDA device", positions.device, do))
    if not fits(mlp):
        raise ValueError(problem("Triton kernel", f"at most {LARGEST}", sizes_of(mlp), do))
    weights = (tensor.contiguous() for tensor in mlp)
    return _TriplaneMLP.apply(  # type: ignore[return-value]
        planes.contiguous(), *weights, positions.contiguous(), slots.contiguous(), axes, negligible
    )


class _TriplaneMLP(torch.autograd.Function):
    """See `triplane_mlp`."""

    @staticmethod
    def forward(ctx, planes, hidden_weight, hidden_bias, output_weight, output_bias, positions, slots, axes, share):
        weights = hidden_weight, hidden_bias, output_weight, output_bias
        ctx.save_for_backward(planes, *weights, positions, slots)
        ctx.axes, ctx.negligible = axes, share
        outputs = positions.new_empty(len(positions), len(output_bias))
        if len(positions):
            grid = (triton.cdiv(len(positions), BLOCK),)
            with torch.cuda.device_of(positions):
                forward_kernel[grid](
                    *(planes, *weights, positions, slots, outputs, len(positions)),
                    **{**constants(planes, weights, axes), **launch(weights)},
                )
        return outputs

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor):
        planes, *weights, positions, slots = ctx.saved_tensors
        # Each program keeps a sum of the MLP's gradients in registers.
        programs = max(1, min(1024, triton.cdiv(len(positions), BLOCK)))
        needs = ctx.needs_input_grad
        with_mlp = any(needs[1:5])
        to_planes = torch.zeros_like(planes, dtype=torch.float32)
        to_weights = [w.new_empty(programs, *w.shape) if with_mlp else w.new_empty(0) for w in weights]
        least = ctx.negligible * gradient.abs().amax(dim=1).mean() if len(positions) else gradient.new_zeros(())
        with torch.cuda.device_of(positions):
            backward_kernel[(programs,)](
                *(planes, *weights, positions, slots, gradient.contiguous(), least, to_planes, *to_weights),
                *(len(positions), programs),
                **{"WITH_PLANES": needs[0], "WITH_MLP": with_mlp},
                **{**constants(planes, weights, ctx.axes), **launch(weights)},
            )
        of_weights = [w.sum(dim=0) if need else None for w, need in zip(to_weights, needs[1:5], strict=True)]
        return to_planes.to(planes.dtype) if needs[0] else None, *of_weights, *(None,) * 4


def launch(weights: Any) -> dict[str, int]:
    """How a kernel is launched: in one stage, to fit small shared memories, and with more warps for large MLPs."""
    return {"num_stages": 1, "num_warps": 4 if weights[0].numel() <= 64 * 32 else 8}


def constants(planes: Tensor, weights: Any, axes: Axes) -> dict[str, Any]:
    """What the kernels are compiled for: sizes, sizes padded for tensor cores, and which axes a plane has."""
    sizes = {name.upper(): size for name, size in sizes_of(weights).items()}
    padded = {f"{name}_PADDED": max(16, triton.next_power_of_2(size)) for name, size in sizes.items()}
    flat_axes = [axis for pair in axes for axis in pair]
    return {
        **{**sizes, **padded, "ROWS": planes.shape[2], "COLS": planes.shape[3], "BLOCK": BLOCK},
        "AXES": sum(axis << 2 * place for place, axis in enumerate(flat_axes)),
        "PRECISION": "tf32" if torch.backends.cuda.matmul.allow_tf32 else "tf32x3",
    }


# Kernels. Pointers come first, then counts; names in capitals are constants that a kernel is compiled for.


@triton.jit
def texel_of(
    positions, slot, point, inside, plane, AXES: tl.constexpr, ROWS: tl.constexpr, COLS: tl.constexpr
):  # fmt: skip
    """The upper left one of the four texels around points in a plane, and how far right and down of it they lie."""
    axes = AXES >> (4 * plane)
    x = tl.load(positions + point * 3 + (axes & 3), mask=inside, other=0.0)
    y = tl.load(positions + point * 3 + ((axes >> 2) & 3), mask=inside, other=0.0)
    x = tl.minimum(tl.maximum((x + 1) * ((COLS - 1) / 2), 0.0), COLS - 1.0)
    y = tl.minimum(tl.maximum((y + 1) * ((ROWS - 1) / 2), 0.0), ROWS - 1.0)
    column, row = tl.minimum(tl.floor(x), COLS - 2.0), tl.minimum(tl.floor(y), ROWS - 2.0)
    first = ((slot * 3 + plane) * ROWS + row.to(tl.int64)) * COLS + column.to(tl.int64)
    return first, x - column, y - row


@triton.jit
def corner_of(
    first, right, down, corner: tl.constexpr, COLS: tl.constexpr, FEATURES: tl.constexpr, FEATURES_PADDED: tl.constexpr
):  # fmt: skip
    """Where the features of one of the four texels lie, and its bilinear weight."""
    texel = first + (corner % 2) + (corner // 2) * COLS
    weight = (right if corner % 2 else 1 - right) * (down if corner // 2 else 1 - down)
    return texel[:, None] * FEATURES + tl.arange(0, FEATURES_PADDED)[None, :], weight[:, None]


@triton.jit
def lookup(
    planes, positions, slot, point, inside, there, AXES: tl.constexpr, ROWS: tl.constexpr, COLS: tl.constexpr,
    FEATURES: tl.constexpr, FEATURES_PADDED: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """The features of points: the sum of three planes' bilinear values."""
    features = tl.zeros((BLOCK, FEATURES_PADDED), tl.float32)
    for plane in range(3):  # not unrolled: all texels at once would take the registers
        first, right, down = texel_of(positions, slot, point, inside, plane, AXES, ROWS, COLS)
        for corner in tl.static_range(4):
            place, weight = corner_of(first, right, down, corner, COLS, FEATURES, FEATURES_PADDED)
            features += weight * tl.load(planes + place, mask=there, other=0.0).to(tl.float32)
    return features


@triton.jit
def load_matrix(
    matrix, ROWS: tl.constexpr, COLS: tl.constexpr, ROWS_PADDED: tl.constexpr, COLS_PADDED: tl.constexpr
):  # fmt: skip
    """A small matrix, with zeros around it; a bias is one of a single row."""
    row, col = tl.arange(0, ROWS_PADDED)[:, None], tl.arange(0, COLS_PADDED)[None, :]
    return tl.load(matrix + row * COLS + col, mask=(row < ROWS) & (col < COLS), other=0.0)


@triton.jit
def store_matrix(
    place, value, ROWS: tl.constexpr, COLS: tl.constexpr, ROWS_PADDED: tl.constexpr, COLS_PADDED: tl.constexpr
):  # fmt: skip
    """Writes what `load_matrix` reads."""
    row, col = tl.arange(0, ROWS_PADDED)[:, None], tl.arange(0, COLS_PADDED)[None, :]
    tl.store(place + row * COLS + col, value, mask=(row < ROWS) & (col < COLS))


@triton.jit
def forward_kernel(
    planes, hidden_weight, hidden_bias, output_weight, output_bias, positions, slots, outputs, count,
    AXES: tl.constexpr, ROWS: tl.constexpr, COLS: tl.constexpr, FEATURES: tl.constexpr, HIDDEN: tl.constexpr,
    OUTPUTS: tl.constexpr, FEATURES_PADDED: tl.constexpr, HIDDEN_PADDED: tl.constexpr, OUTPUTS_PADDED: tl.constexpr,
    BLOCK: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Outputs of one block of points a program."""
    point = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = point < count
    slot = tl.load(slots + point, mask=inside, other=0).to(tl.int64)
    there = inside[:, None] & (tl.arange(0, FEATURES_PADDED)[None, :] < FEATURES)
    features = lookup(planes, positions, slot, point, inside, there, AXES, ROWS, COLS, FEATURES, FEATURES_PADDED, BLOCK)
    first = load_matrix(hidden_weight, HIDDEN, FEATURES, HIDDEN_PADDED, FEATURES_PADDED)
    hidden = tl.dot(features, tl.trans(first), input_precision=PRECISION)
    hidden = tl.maximum(hidden + load_matrix(hidden_bias, 1, HIDDEN, 1, HIDDEN_PADDED), 0.0)
    last = load_matrix(output_weight, OUTPUTS, HIDDEN, OUTPUTS_PADDED, HIDDEN_PADDED)
    result = tl.dot(hidden, tl.trans(last), input_precision=PRECISION)
    result += load_matrix(output_bias, 1, OUTPUTS, 1, OUTPUTS_PADDED)
    output = tl.arange(0, OUTPUTS_PADDED)[None, :]
    tl.store(outputs + point[:, None] * OUTPUTS + output, result, mask=inside[:, None] & (output < OUTPUTS))


@triton.jit
def backward_kernel(
    planes, hidden_weight, hidden_bias, output_weight, output_bias, positions, slots, gradient, least,
    to_planes, to_hidden_weight, to_hidden_bias, to_output_weight, to_output_bias, count, programs,
    AXES: tl.constexpr, ROWS: tl.constexpr, COLS: tl.constexpr, FEATURES: tl.constexpr, HIDDEN: tl.constexpr,
    OUTPUTS: tl.constexpr, FEATURES_PADDED: tl.constexpr, HIDDEN_PADDED: tl.constexpr, OUTPUTS_PADDED: tl.constexpr,
    BLOCK: tl.constexpr, PRECISION: tl.constexpr, WITH_PLANES: tl.constexpr, WITH_MLP: tl.constexpr,
):  # fmt: skip
    """Gradients of every `programs`-th block of points a program; points that move nothing are left out."""
    program = tl.program_id(0).to(tl.int64)
    threshold = tl.load(least)
    sum_first = tl.zeros((HIDDEN_PADDED, FEATURES_PADDED), tl.float32)
    sum_first_bias = tl.zeros((1, HIDDEN_PADDED), tl.float32)
    sum_last = tl.zeros((OUTPUTS_PADDED, HIDDEN_PADDED), tl.float32)
    sum_last_bias = tl.zeros((1, OUTPUTS_PADDED), tl.float32)
    output = tl.arange(0, OUTPUTS_PADDED)[None, :]
    for start in range(program * BLOCK, count, programs * BLOCK):
        point = start + tl.arange(0, BLOCK).to(tl.int64)
        inside = point < count
        mask = inside[:, None] & (output < OUTPUTS)
        to_outputs = tl.load(gradient + point[:, None] * OUTPUTS + output, mask=mask, other=0.0)
        is_small = tl.max(tl.abs(to_outputs), axis=1) < threshold  # no number is smaller than NaN or infinity
        kept = inside & (is_small == 0)
        to_outputs = tl.where(kept[:, None], to_outputs, 0.0)
        slot = tl.load(slots + point, mask=kept, other=0).to(tl.int64)
        there = kept[:, None] & (tl.arange(0, FEATURES_PADDED)[None, :] < FEATURES)
        features = lookup(
            planes, positions, slot, point, kept, there, AXES, ROWS, COLS, FEATURES, FEATURES_PADDED, BLOCK
        )
        # Read again for every block, out of the cache: held over the loop they would take the registers.
        first = load_matrix(hidden_weight, HIDDEN, FEATURES, HIDDEN_PADDED, FEATURES_PADDED)
        last = load_matrix(output_weight, OUTPUTS, HIDDEN, OUTPUTS_PADDED, HIDDEN_PADDED)
        hidden = tl.dot(features, tl.trans(first), input_precision=PRECISION)
        hidden = tl.maximum(hidden + load_matrix(hidden_bias, 1, HIDDEN, 1, HIDDEN_PADDED), 0.0)
        to_hidden = tl.dot(to_outputs, last, input_precision=PRECISION)
        to_hidden = tl.where(hidden > 0, to_hidden, 0.0)
        if WITH_MLP:
            sum_first += tl.dot(tl.trans(to_hidden), features, input_precision=PRECISION)
            sum_first_bias += tl.sum(to_hidden, axis=0)[None, :]
            sum_last += tl.dot(tl.trans(to_outputs), hidden, input_precision=PRECISION)
            sum_last_bias += tl.sum(to_outputs, axis=0)[None, :]
        if WITH_PLANES:
            to_features = tl.dot(to_hidden, first, input_precision=PRECISION)
            for plane in range(3):
                first_texel, right, down = texel_of(positions, slot, point, kept, plane, AXES, ROWS, COLS)
                for corner in tl.static_range(4):
                    place, weight = corner_of(first_texel, right, down, corner, COLS, FEATURES, FEATURES_PADDED)
                    tl.atomic_add(to_planes + place, weight * to_features, mask=there, sem="relaxed")
    if WITH_MLP:
        place = to_hidden_weight + program * HIDDEN * FEATURES
        store_matrix(place, sum_first, HIDDEN, FEATURES, HIDDEN_PADDED, FEATURES_PADDED)
        store_matrix(to_hidden_bias + program * HIDDEN, sum_first_bias, 1, HIDDEN, 1, HIDDEN_PADDED)
        place = to_output_weight + program * OUTPUTS * HIDDEN
        store_matrix(place, sum_last, OUTPUTS, HIDDEN, OUTPUTS_PADDED, HIDDEN_PADDED)
        store_matrix(to_output_bias + program * OUTPUTS, sum_last_bias, 1, OUTPUTS, 1, OUTPUTS_PADDED)
