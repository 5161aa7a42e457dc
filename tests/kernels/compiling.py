"""Compiles the Triton kernels for GPUs, which takes none, and prints what each needs, as JSON.

A program of its own: the hook that checks shapes in tests would stand between Triton and its kernels.
"""

import json
import re
import subprocess
import tempfile
import warnings
from pathlib import Path

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, compile

from latent_nerfstudio.fields.planes import PLANE_AXES
from latent_nerfstudio.kernels import triplane_triton
from latent_nerfstudio.kernels.triplane_torch import TinyMLP

SHIPPED = (32, 64, 17)
"""Features, hidden units and outputs of `latent-triplane`."""

KERNELS = {
    "forward": (triplane_triton.forward_kernel, {}),
    "backward": (triplane_triton.backward_kernel, {"WITH_PLANES": True, "WITH_MLP": True}),
}

CASES = [(name, SHIPPED, capability) for name in KERNELS for capability in (80, 90, 120)]
CASES += [(name, tuple(triplane_triton.LARGEST.values()), 80) for name in KERNELS]


def needs(name, sizes, capability):
    """Bytes of shared memory of a block and of registers that a thread spills, on a GPU of a compute capability."""
    (kernel, flags), (features, hidden, outputs) = KERNELS[name], sizes
    mlp = TinyMLP(*map(torch.empty, ((hidden, features), (hidden,), (outputs, hidden), (outputs,))))
    constants = {**triplane_triton.constants(torch.empty(2, 3, 32, 32, features), mlp, PLANE_AXES), **flags}
    kinds = {"slots": "*i64", "count": "i32", "programs": "i32", **dict.fromkeys(constants, "constexpr")}
    signature = {name: kinds.get(name, "*fp32") for name in kernel.arg_names}
    source, target = ASTSource(kernel, signature, constexprs=constants), GPUTarget("cuda", capability, 32)
    compiled = compile(source, target=target, options=triplane_triton.launch(mlp))
    return {"shared": compiled.metadata.shared, "spilled": spilled(compiled.asm["cubin"])}


def spilled(cubin):
    """Bytes of the stack that a compiled kernel's threads have."""
    program = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        usage = subprocess.run([program, "-res-usage", file.name], capture_output=True, text=True, check=True).stdout
    return int(re.search(r"STACK:(\d+)", usage)[1])


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    print(json.dumps([(*case, needs(*case)) for case in CASES]))
