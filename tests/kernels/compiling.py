"""Compiles the Triton kernels for GPUs, which takes none, and prints the shared memory that each needs, as JSON.

A program of its own: the hook that checks shapes in tests would stand between Triton and its kernels.
"""

import json
import warnings

import torch
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, compile

from latent_nerfstudio.fields.planes import PLANE_AXES
from latent_nerfstudio.kernels import triplane_triton

COUNTS = ("count", "programs")


def shared_memory(kernel, capability, **flags):
    """Bytes of shared memory that a kernel takes on a GPU of a compute capability."""
    weights = torch.empty(24, 16), torch.empty(24), torch.empty(5, 24), torch.empty(5)
    constants = {**triplane_triton.constants(torch.empty(2, 3, 8, 8, 16), weights, PLANE_AXES), **flags}
    kinds = {
        "planes": "*bf16",
        "slots": "*i64",
        **dict.fromkeys(COUNTS, "i32"),
        **dict.fromkeys(constants, "constexpr"),
    }
    signature = {name: kinds.get(name, "*fp32") for name in kernel.arg_names}
    source = ASTSource(kernel, signature, constexprs=constants)
    return compile(source, target=GPUTarget("cuda", capability, 32), options={"num_stages": 1}).metadata.shared


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    print(
        json.dumps(
            {
                "forward": shared_memory(triplane_triton.forward_kernel, 90),
                "backward": shared_memory(triplane_triton.backward_kernel, 80, WITH_PLANES=True, WITH_MLP=True),
            }
        )
    )
