"""Tri-plane lookup and tiny MLP in one Triton kernel each way, for CUDA; `triplane_torch` is the twin in plain torch.

Nothing but the outputs is written forwards: features and hidden units stay in registers, and the backward pass makes
them again from the positions. Planes may be float32, float16 or bfloat16; sums are in float32. Matrix products are of
TF32 numbers where `torch.backends.cuda.matmul.allow_tf32` says so, else sums of three such products, as exact as
float32. Gradients of planes are added up atomically, so that their last bits differ from run to run; those of the MLP
are summed by each program over its points, and then over programs.

Without a GPU the kernels run in Triton's interpreter, if TRITON_INTERPRET=1 is set before Triton is imported.
"""

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

from latent_nerfstudio.kernels.triplane_torch import Axes, TinyMLP

BLOCK = 32
"""Points that a program handles at once."""

MAX_PROGRAMS = 1024
"""Programs of the backward pass at most; each keeps a sum of the MLP's gradients in registers."""

LEAST_SIDE = 16
"""Of the matrices that tensor cores multiply."""

INTERPRETED = os.environ.get("TRITON_INTERPRET", "0") == "1"
"""Whether kernels run in Triton's interpreter, on the CPU."""


def triplane_mlp(
    planes: Float[Tensor, "scenes 3 rows cols features"],
    positions: Float[Tensor, "points 3"],
    slots: Int[Tensor, "points"],
    mlp: TinyMLP,
    axes: Axes,
    negligible: float = 0.0,
) -> Float[Tensor, "points outputs"]:
    """See `triplane_torch.triplane_mlp`, whose arguments and results are the same.

    Raises:
        ValueError: tensors that are not on a CUDA device.
    """
    if not (positions.is_cuda or INTERPRETED):
        raise ValueError(
            f"Triton kernel: expected tensors on a CUDA device, got {positions.device}; set "
            "--pipeline.model.nerf.field.implementation auto"
        )
    weights = (tensor.contiguous() for tensor in mlp)
    return _TriplaneMLP.apply(  # type: ignore[return-value]
        planes.contiguous(), *weights, positions.contiguous(), slots.contiguous(), axes, negligible
    )


class _TriplaneMLP(torch.autograd.Function):
    """See `triplane_mlp`."""

    @staticmethod
    def forward(
        ctx: Any, planes, hidden_weight, hidden_bias, output_weight, output_bias, positions, slots, axes, share
    ):
        weights = hidden_weight, hidden_bias, output_weight, output_bias
        ctx.save_for_backward(planes, *weights, positions, slots)
        ctx.axes, ctx.negligible = axes, share
        outputs = positions.new_empty(len(positions), len(output_bias))
        if len(positions):
            grid = (triton.cdiv(len(positions), BLOCK),)
            with torch.cuda.device_of(positions):
                forward_kernel[grid](
                    planes, *weights, positions, slots, outputs, len(positions), **constants(planes, weights, axes)
                )
        return outputs

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor):
        planes, *weights, positions, slots = ctx.saved_tensors
        programs = max(1, min(MAX_PROGRAMS, triton.cdiv(len(positions), BLOCK)))
        needs = ctx.needs_input_grad
        with_mlp = any(needs[1:5])
        to_planes = torch.zeros_like(planes, dtype=torch.float32)
        to_weights = [w.new_empty(programs, *w.shape) if with_mlp else w.new_empty(0) for w in weights]
        least = ctx.negligible * gradient.abs().amax(dim=1).mean() if len(positions) else gradient.new_zeros(())
        with torch.cuda.device_of(positions):  # one stage: more would take the shared memory of a small GPU
            backward_kernel[(programs,)](
                *(planes, *weights, positions, slots, gradient.contiguous(), least, to_planes, *to_weights),
                *(len(positions), programs),
                **{"WITH_PLANES": needs[0], "WITH_MLP": with_mlp, "num_stages": 1},
                **constants(planes, weights, ctx.axes),
            )
        of_weights = [w.sum(dim=0) if need else None for w, need in zip(to_weights, needs[1:5], strict=True)]
        return to_planes.to(planes.dtype) if needs[0] else None, *of_weights, *(None,) * 4


def constants(planes: Tensor, weights: Any, axes: Axes) -> dict[str, Any]:
    """What the kernels are compiled for: sizes, sizes padded to powers of two, and which axes a plane has."""
    rows, cols, features = planes.shape[2:]
    hidden, outputs = len(weights[1]), len(weights[3])
    padded = (max(LEAST_SIDE, triton.next_power_of_2(size)) for size in (features, hidden, outputs))
    flat_axes = (axis for pair in axes for axis in pair)
    return {
        **{"ROWS": rows, "COLS": cols, "FEATURES": features, "HIDDEN": hidden, "OUTPUTS": outputs, "BLOCK": BLOCK},
        **dict(zip(("FEATURES_PADDED", "HIDDEN_PADDED", "OUTPUTS_PADDED"), padded, strict=True)),
        **dict(zip(("X0", "Y0", "X1", "Y1", "X2", "Y2"), flat_axes, strict=True)),
        "PRECISION": "tf32" if torch.backends.cuda.matmul.allow_tf32 else "tf32x3",
    }


# Kernels. Pointers come first, then counts; names in capitals are constants that a kernel is compiled for.


@triton.jit
def texel_of(
    positions, slot, point, inside, plane: tl.constexpr, X: tl.constexpr, Y: tl.constexpr, ROWS: tl.constexpr,
    COLS: tl.constexpr,
):  # fmt: skip
    """The upper left one of the four texels around points in a plane, and how far right and down of it they lie."""
    x = tl.load(positions + point * 3 + X, mask=inside, other=0.0)
    y = tl.load(positions + point * 3 + Y, mask=inside, other=0.0)
    x = tl.minimum(tl.maximum((x + 1) * ((COLS - 1) / 2), 0.0), COLS - 1.0)
    y = tl.minimum(tl.maximum((y + 1) * ((ROWS - 1) / 2), 0.0), ROWS - 1.0)
    column = tl.minimum(tl.floor(x), COLS - 2.0)
    row = tl.minimum(tl.floor(y), ROWS - 2.0)
    first = ((slot * 3 + plane) * ROWS + row.to(tl.int64)) * COLS + column.to(tl.int64)
    return first, x - column, y - row


@triton.jit
def add_plane(
    features, planes, positions, slot, point, inside, plane: tl.constexpr, X: tl.constexpr, Y: tl.constexpr,
    ROWS: tl.constexpr, COLS: tl.constexpr, FEATURES: tl.constexpr, FEATURES_PADDED: tl.constexpr,
):  # fmt: skip
    """The features of points, with the bilinear value of one plane added."""
    first, right, down = texel_of(positions, slot, point, inside, plane, X, Y, ROWS, COLS)
    feature = tl.arange(0, FEATURES_PADDED)
    mask = inside[:, None] & (feature < FEATURES)[None, :]
    for corner in tl.static_range(4):
        texel = first + (corner % 2) + (corner // 2) * COLS
        weight = (right if corner % 2 else 1 - right) * (down if corner // 2 else 1 - down)
        value = tl.load(planes + texel[:, None] * FEATURES + feature[None, :], mask=mask, other=0.0)
        features += weight[:, None] * value.to(tl.float32)
    return features


@triton.jit
def scatter_plane(
    to_planes, to_features, positions, slot, point, inside, plane: tl.constexpr, X: tl.constexpr, Y: tl.constexpr,
    ROWS: tl.constexpr, COLS: tl.constexpr, FEATURES: tl.constexpr, FEATURES_PADDED: tl.constexpr,
):  # fmt: skip
    """The transpose of `add_plane`: adds the gradients of points' features to those of a plane's texels."""
    first, right, down = texel_of(positions, slot, point, inside, plane, X, Y, ROWS, COLS)
    feature = tl.arange(0, FEATURES_PADDED)
    mask = inside[:, None] & (feature < FEATURES)[None, :]
    for corner in tl.static_range(4):
        texel = first + (corner % 2) + (corner // 2) * COLS
        weight = (right if corner % 2 else 1 - right) * (down if corner // 2 else 1 - down)
        place = to_planes + texel[:, None] * FEATURES + feature[None, :]
        tl.atomic_add(place, weight[:, None] * to_features, mask=mask, sem="relaxed")


@triton.jit
def lookup(
    planes, positions, slot, point, inside, X0: tl.constexpr, Y0: tl.constexpr, X1: tl.constexpr, Y1: tl.constexpr,
    X2: tl.constexpr, Y2: tl.constexpr, ROWS: tl.constexpr, COLS: tl.constexpr, FEATURES: tl.constexpr,
    FEATURES_PADDED: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """The features of points: the sum of three planes."""
    features = tl.zeros((BLOCK, FEATURES_PADDED), tl.float32)
    features = add_plane(
        features, planes, positions, slot, point, inside, 0, X0, Y0, ROWS, COLS, FEATURES, FEATURES_PADDED
    )
    features = add_plane(
        features, planes, positions, slot, point, inside, 1, X1, Y1, ROWS, COLS, FEATURES, FEATURES_PADDED
    )
    return add_plane(features, planes, positions, slot, point, inside, 2, X2, Y2, ROWS, COLS, FEATURES, FEATURES_PADDED)


@triton.jit
def load_matrix(
    matrix, ROWS: tl.constexpr, COLS: tl.constexpr, ROWS_PADDED: tl.constexpr, COLS_PADDED: tl.constexpr
):  # fmt: skip
    """A small matrix, with zeros around it."""
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
def load_vector(vector, SIZE: tl.constexpr, SIZE_PADDED: tl.constexpr):
    """A bias, with zeros behind it."""
    place = tl.arange(0, SIZE_PADDED)
    return tl.load(vector + place, mask=place < SIZE, other=0.0)


@triton.jit
def store_vector(place, value, SIZE: tl.constexpr, SIZE_PADDED: tl.constexpr):
    """Writes what `load_vector` reads."""
    index = tl.arange(0, SIZE_PADDED)
    tl.store(place + index, value, mask=index < SIZE)


@triton.jit
def forward_kernel(
    planes, hidden_weight, hidden_bias, output_weight, output_bias, positions, slots, outputs, count,
    X0: tl.constexpr, Y0: tl.constexpr, X1: tl.constexpr, Y1: tl.constexpr, X2: tl.constexpr, Y2: tl.constexpr,
    ROWS: tl.constexpr, COLS: tl.constexpr, FEATURES: tl.constexpr, HIDDEN: tl.constexpr, OUTPUTS: tl.constexpr,
    FEATURES_PADDED: tl.constexpr, HIDDEN_PADDED: tl.constexpr, OUTPUTS_PADDED: tl.constexpr, BLOCK: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    """Outputs of one block of points a program."""
    point = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = point < count
    slot = tl.load(slots + point, mask=inside, other=0).to(tl.int64)
    features = lookup(
        planes, positions, slot, point, inside, X0, Y0, X1, Y1, X2, Y2, ROWS, COLS, FEATURES, FEATURES_PADDED, BLOCK
    )
    first = load_matrix(hidden_weight, HIDDEN, FEATURES, HIDDEN_PADDED, FEATURES_PADDED)
    hidden = tl.dot(features, tl.trans(first), input_precision=PRECISION)
    hidden = tl.maximum(hidden + load_vector(hidden_bias, HIDDEN, HIDDEN_PADDED)[None, :], 0.0)
    last = load_matrix(output_weight, OUTPUTS, HIDDEN, OUTPUTS_PADDED, HIDDEN_PADDED)
    result = tl.dot(hidden, tl.trans(last), input_precision=PRECISION)
    result += load_vector(output_bias, OUTPUTS, OUTPUTS_PADDED)[None, :]
    output = tl.arange(0, OUTPUTS_PADDED)[None, :]
    tl.store(outputs + point[:, None] * OUTPUTS + output, result, mask=inside[:, None] & (output < OUTPUTS))


@triton.jit
def backward_kernel(
    planes, hidden_weight, hidden_bias, output_weight, output_bias, positions, slots, gradient, least,
    to_planes, to_hidden_weight, to_hidden_bias, to_output_weight, to_output_bias, count, programs,
    X0: tl.constexpr, Y0: tl.constexpr, X1: tl.constexpr, Y1: tl.constexpr, X2: tl.constexpr, Y2: tl.constexpr,
    ROWS: tl.constexpr, COLS: tl.constexpr, FEATURES: tl.constexpr, HIDDEN: tl.constexpr, OUTPUTS: tl.constexpr,
    FEATURES_PADDED: tl.constexpr, HIDDEN_PADDED: tl.constexpr, OUTPUTS_PADDED: tl.constexpr, BLOCK: tl.constexpr,
    PRECISION: tl.constexpr, WITH_PLANES: tl.constexpr, WITH_MLP: tl.constexpr,
):  # fmt: skip
    """Gradients of every `programs`-th block of points a program; points that move nothing are left out."""
    program = tl.program_id(0).to(tl.int64)
    first = load_matrix(hidden_weight, HIDDEN, FEATURES, HIDDEN_PADDED, FEATURES_PADDED)
    first_bias = load_vector(hidden_bias, HIDDEN, HIDDEN_PADDED)
    last = load_matrix(output_weight, OUTPUTS, HIDDEN, OUTPUTS_PADDED, HIDDEN_PADDED)
    threshold = tl.load(least)
    sum_first = tl.zeros((HIDDEN_PADDED, FEATURES_PADDED), tl.float32)
    sum_first_bias = tl.zeros((HIDDEN_PADDED,), tl.float32)
    sum_last = tl.zeros((OUTPUTS_PADDED, HIDDEN_PADDED), tl.float32)
    sum_last_bias = tl.zeros((OUTPUTS_PADDED,), tl.float32)
    output = tl.arange(0, OUTPUTS_PADDED)[None, :]
    for start in range(program * BLOCK, count, programs * BLOCK):
        point = start + tl.arange(0, BLOCK).to(tl.int64)
        inside = point < count
        slot = tl.load(slots + point, mask=inside, other=0).to(tl.int64)
        mask = inside[:, None] & (output < OUTPUTS)
        to_outputs = tl.load(gradient + point[:, None] * OUTPUTS + output, mask=mask, other=0.0)
        is_small = tl.max(tl.abs(to_outputs), axis=1) < threshold  # no number is smaller than NaN or infinity
        kept = inside & (is_small == 0)
        to_outputs = tl.where(kept[:, None], to_outputs, 0.0)
        features = lookup(
            planes, positions, slot, point, kept, X0, Y0, X1, Y1, X2, Y2, ROWS, COLS, FEATURES, FEATURES_PADDED, BLOCK
        )
        hidden = tl.dot(features, tl.trans(first), input_precision=PRECISION) + first_bias[None, :]
        hidden = tl.maximum(hidden, 0.0)
        to_hidden = tl.dot(to_outputs, last, input_precision=PRECISION)
        to_hidden = tl.where(hidden > 0, to_hidden, 0.0)
        if WITH_PLANES:
            to_features = tl.dot(to_hidden, first, input_precision=PRECISION)
            scatter_plane(
                to_planes, to_features, positions, slot, point, kept, 0, X0, Y0, ROWS, COLS, FEATURES, FEATURES_PADDED
            )
            scatter_plane(
                to_planes, to_features, positions, slot, point, kept, 1, X1, Y1, ROWS, COLS, FEATURES, FEATURES_PADDED
            )
            scatter_plane(
                to_planes, to_features, positions, slot, point, kept, 2, X2, Y2, ROWS, COLS, FEATURES, FEATURES_PADDED
            )
        if WITH_MLP:
            sum_first += tl.dot(tl.trans(to_hidden), features, input_precision=PRECISION)
            sum_first_bias += tl.sum(to_hidden, axis=0)
            sum_last += tl.dot(tl.trans(to_outputs), hidden, input_precision=PRECISION)
            sum_last_bias += tl.sum(to_outputs, axis=0)
    if WITH_MLP:
        place = to_hidden_weight + program * HIDDEN * FEATURES
        store_matrix(place, sum_first, HIDDEN, FEATURES, HIDDEN_PADDED, FEATURES_PADDED)
        store_vector(to_hidden_bias + program * HIDDEN, sum_first_bias, HIDDEN, HIDDEN_PADDED)
        place = to_output_weight + program * OUTPUTS * HIDDEN
        store_matrix(place, sum_last, OUTPUTS, HIDDEN, OUTPUTS_PADDED, HIDDEN_PADDED)
        store_vector(to_output_bias + program * OUTPUTS, sum_last_bias, OUTPUTS, OUTPUTS_PADDED)
