"""A CUDA device that only pretends: its tensors say cuda:0 and compute on the CPU.

An operation on tensors of two devices raises, as on a GPU, and every wait of the host for the device is counted with
its place in the code. What it cannot see: real kernels (Triton, nerfacc, gsplat), and memory. torch's own
FakeTensorMode cannot stand in: shapes that depend on values raise in it.
"""

import contextlib
import os
import re
import shutil
import subprocess
import traceback
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Dict, Iterator, Optional
from unittest.mock import patch

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

CUDA = torch.device("cuda:0")

WAITING = (
    "aten._local_scalar_dense.", "aten.nonzero.", "aten._unique2.", "aten.unique_dim.", "aten.unique_consecutive.",
    "aten.masked_select.", "aten.is_nonzero.", "aten.bincount.", "aten.equal.", "aten.repeat_interleave.Tensor",
)  # fmt: skip
"""Operations whose result, or its size, the host must know."""

MIXING = ("aten.index.", "aten.index_put", "aten._index_put", "aten.set_", "aten.detach")
"""Operations that take tensors of both devices."""

waits: Counter = Counter()
"""Waits of the host by their place, while `counting`."""

state = SimpleNamespace(counting=False, kernels=0)

VIEWS = re.compile(
    r"aten\.(view|_unsafe_view|select|slice|expand|unsqueeze|squeeze|detach|t|transpose|permute|alias|unbind|split|"
    r"as_strided|diagonal|empty|_indices|_values)\."
)
"""Operations that start no kernel."""


def environment(folder: Path) -> Optional[Dict[str, str]]:
    """Compiles the two libraries that stand in for the driver; the variables of a process that finds them, None
    without a C compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        return None
    runtime, driver = folder / "cudart_stub.so", folder / "libcuda.so.1"
    for source, target in (("cudart_stub.c", runtime), ("cuda_stub.c", driver)):
        subprocess.run([compiler, "-shared", "-fPIC", "-w", "-o", target, Path(__file__).parent / source], check=True)
    return {**os.environ, "LD_PRELOAD": str(runtime), "LD_LIBRARY_PATH": str(folder)}


def wait(what: str) -> None:
    """Counts a wait where the package, or Nerfstudio for it, asked for it."""
    if state.counting:
        ours = [f for f in traceback.extract_stack() if "latent_nerfstudio/" in f.filename]
        place = f"{Path(ours[-1].filename).name}:{ours[-1].lineno}" if ours else "elsewhere"
        waits[f"{what} at {place}"] += 1


class Pretended(torch.Tensor):
    """A tensor that says that it is on cuda:0; its numbers are those of `inner`, on the CPU."""

    @staticmethod
    def __new__(cls, inner: torch.Tensor):
        inner = inner.detach()
        self = torch.Tensor._make_subclass(cls, inner, False, dispatch_device=True, device_for_backend_keys=CUDA)
        self.inner = inner
        return self

    def __deepcopy__(self, memo: Any) -> torch.Tensor:
        copied = Pretended(self.inner.clone())
        return torch.nn.Parameter(copied, self.requires_grad) if isinstance(self, torch.nn.Parameter) else copied

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Files hold a tensor of the CPU: what they say of devices is asked of no file here."""
        return self.inner.__reduce_ex__(protocol)

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return dispatch(func, args, kwargs or {})


def inner_of(value: Any) -> Any:
    return value.inner if isinstance(value, Pretended) else value


def is_cuda(device: Any) -> bool:
    return device is not None and torch.device(device).type == "cuda"


def dispatch(func: Any, args: Any, kwargs: Dict[str, Any]) -> Any:
    """An operation: on the CPU, with what is to be on the pretended device wrapped again."""
    name = str(func)
    if name == "prim.device.default":
        return CUDA
    if name == "aten._to_copy.default":
        return moved(func, args, dict(kwargs))
    if name == "aten.copy_.default":
        return copied(func, args)
    tensors = [t for t in tree_flatten((args, kwargs))[0] if isinstance(t, torch.Tensor)]
    pretended = [t for t in tensors if isinstance(t, Pretended)]
    device = kwargs.get("device")
    if not pretended and not is_cuda(device):
        return func(*args, **kwargs)
    check_devices(name, args, tensors)
    state.kernels += not VIEWS.match(name)
    if name.startswith(WAITING) or has_boolean_index(name, args):
        wait(name.split(".")[1])
    if device is not None:
        kwargs = {**kwargs, "device": torch.device("cpu")}
    result = func(*tree_map(inner_of, args), **tree_map(inner_of, kwargs))
    if name.startswith("aten._local_scalar_dense.") or not (pretended if device is None else is_cuda(device)):
        return result
    known = {id(t.inner): t for t in pretended}  # of operations in place

    def wrapped(value: Any) -> Any:
        if not isinstance(value, torch.Tensor):
            return value
        return known[id(value)] if id(value) in known else Pretended(value)

    return tree_map(wrapped, result)


def check_devices(name: str, args: Any, tensors: Any) -> None:
    """Refuses what CUDA refuses; numbers of the host are taken."""
    pretended = any(isinstance(t, Pretended) for t in tensors)
    host = [tuple(t.shape) for t in tensors if not isinstance(t, Pretended) and t.dim() > 0]
    if pretended and host:
        if not name.startswith(MIXING) or (name.startswith("aten.index.") and not isinstance(args[0], Pretended)):
            raise RuntimeError(f"{name}: tensors of two devices, {host} on the CPU")
        if name.startswith(("aten.index.", "aten.index_put")):
            wait("index of the host")


def has_boolean_index(name: str, args: Any) -> bool:
    if not name.startswith(("aten.index.", "aten.index_put")):
        return False
    return any(i is not None and i.dtype in (torch.bool, torch.uint8) for i in args[1])


def moved(func: Any, args: Any, kwargs: Dict[str, Any]) -> Any:
    """`.to`: between devices a wait, but from pinned memory without blocking."""
    source, target = isinstance(args[0], Pretended), kwargs.get("device")
    to_cuda = source if target is None else is_cuda(target)
    pinned = kwargs.pop("non_blocking", False) and getattr(args[0], "pinned", False)
    if source != to_cuda and not pinned:
        wait("copy to the device" if to_cuda else "copy to the host")
    if target is not None:
        kwargs["device"] = torch.device("cpu")
    inner = inner_of(args[0])
    result = func(inner, *args[1:], **kwargs)
    return Pretended(result.clone() if result is inner else result) if to_cuda else result


def copied(func: Any, args: Any) -> Any:
    target, source = args[0], args[1]
    if isinstance(source, torch.Tensor) and isinstance(target, Pretended) != isinstance(source, Pretended):
        wait("copy to the device" if isinstance(target, Pretended) else "copy to the host")
    func(inner_of(target), inner_of(source), *args[2:])
    return target


class Operations(TorchDispatchMode):
    """Sees operations that make tensors, which have no argument that could be `Pretended`."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return dispatch(func, args, kwargs or {})


class Functions(TorchFunctionMode):
    """What C++ would do with a driver before anything is dispatched."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = {name: indexed(value) for name, value in (kwargs or {}).items()}
        args = [indexed(value) for value in args]
        on_device = bool(args) and isinstance(args[0], Pretended)
        if (
            func in (torch.tensor, torch.as_tensor)
            and is_cuda(kwargs.get("device"))
            and not isinstance(args[0], torch.Tensor)
        ):
            wait("copy to the device")
            return Pretended(func(*args, **{n: v for n, v in kwargs.items() if n != "device"}))
        if on_device and func in (torch.Tensor.__getitem__, torch.Tensor.__setitem__):
            args[1] = tuple(map(listed, args[1])) if isinstance(args[1], tuple) else listed(args[1])
        if on_device and func is torch.Tensor.tolist:
            wait("copy to the host")
            return args[0].inner.tolist()
        if on_device and func is torch.Tensor.numpy:
            raise TypeError("can't convert cuda:0 device type tensor to numpy")
        if on_device and func is torch.Tensor.new_tensor:
            wait("copy to the device")
            return Pretended(torch.tensor(args[1], dtype=kwargs.get("dtype", args[0].dtype)))
        return func(*args, **kwargs)


def indexed(value: Any) -> Any:
    """`cuda` as `cuda:0`."""
    is_name = isinstance(value, torch.device) or (isinstance(value, str) and value.startswith("cuda"))
    return CUDA if is_name and torch.device(value).type == "cuda" else value


def listed(index: Any) -> Any:
    """A list as an index, which is copied to the device."""
    if not isinstance(index, list) or any(isinstance(one, torch.Tensor) for one in index):
        return index
    wait("copy to the device")
    return Pretended(torch.tensor(index))


def pin(tensor: torch.Tensor, *_: Any) -> torch.Tensor:
    result = tensor.clone()
    result.pinned = True  # type: ignore[attr-defined]
    return result


@contextlib.contextmanager
def pretended_cuda() -> Iterator[None]:
    """While it lasts, torch finds a CUDA device."""
    card = SimpleNamespace(name="pretended", major=9, minor=0, total_memory=80 << 30, multi_processor_count=132)
    answers = {
        "_lazy_init": None, "is_available": True, "device_count": 1, "mem_get_info": (70 << 30, 80 << 30),
        "is_bf16_supported": True, "get_device_name": "pretended", "get_device_properties": card,
        "get_device_capability": (9, 0), "current_device": 0, "memory_reserved": 0, "memory_allocated": 0,
        "max_memory_allocated": 0, "reset_peak_memory_stats": None, "empty_cache": None, "synchronize": None,
        "manual_seed": None, "manual_seed_all": None,
    }  # fmt: skip
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    torch.backends.cudnn.enabled = False
    with contextlib.ExitStack() as stack:
        for name, answer in answers.items():
            stack.enter_context(patch.object(torch.cuda, name, lambda *_, answer=answer, **__: answer))
        check = "_accelerator_graph_capture_health_check"
        stack.enter_context(patch.object(torch.optim.Optimizer, check, lambda self: None, create=True))
        stack.enter_context(patch.object(torch.Tensor, "pin_memory", pin))
        stack.enter_context(Functions())
        stack.enter_context(Operations())
        yield


@contextlib.contextmanager
def counted() -> Iterator[Counter]:
    """Waits while it lasts; `state.kernels` are the operations that are no views."""
    waits.clear()
    state.counting, state.kernels = True, 0
    try:
        yield waits
    finally:
        state.counting = False
