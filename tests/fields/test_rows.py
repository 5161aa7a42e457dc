"""Rows of parameters: values and gradients against plain indexing, and what stays where when a module moves."""

import copy

import pytest
import torch
from torch import nn

from latent_nerfstudio.fields.planes import gather_rows
from latent_nerfstudio.fields.rows import apply_but_for, parameter_bytes, stays_on_host
from latent_nerfstudio.fields.triplane_field import SCENE_PARAMETERS, TriplaneFieldConfig

SHAPES = pytest.mark.parametrize("shape", [(6, 3), (6,), (6, 3, 2, 4, 4)])
INDEX = torch.tensor([1, 4, 1])


CPU = torch.device("cpu")


def table_of(shape):
    return nn.Parameter(torch.randn(shape))


@SHAPES
@pytest.mark.parametrize("sparse", [True, False])
def test_rows_and_their_gradient_are_those_of_indexing(shape, sparse):
    table, plain = table_of(shape), table_of(shape)
    plain.data.copy_(table.data)
    factors = torch.randn(3, *shape[1:])
    for one, rows in ((table, gather_rows(table, INDEX, CPU, sparse)), (plain, plain[INDEX])):
        assert torch.equal(rows, one.detach()[INDEX])
        (rows.square() * factors).sum().backward()
    assert table.grad.is_sparse == sparse
    assert torch.equal(table.grad.to_dense() if sparse else table.grad, plain.grad)
    if sparse:
        assert table.grad.coalesce().indices().tolist() == [[1, 4]]


def test_gradients_of_several_gathers_add_up():
    table = table_of((6, 3))

    def rows(*index):
        return gather_rows(table, torch.tensor(index), CPU, sparse=True).sum()

    rows(1, 4).backward()
    assert table.grad.is_coalesced()
    table.grad = None
    (rows(0, 2) + rows(2, 5)).backward()
    rows(5).backward()
    assert table.grad.is_sparse
    assert table.grad.to_dense()[:, 0].tolist() == [1, 0, 2, 0, 0, 2]


class Module(nn.Module):
    """Three parameters, of which the middle one may stay."""

    def __init__(self):
        super().__init__()
        self.first, self.middle, self.last = (nn.Parameter(torch.ones(2)) for _ in range(3))
        self.kept = ("middle",)

    def _apply(self, fn, recurse=True):
        return apply_but_for(self, self.kept, lambda: super(Module, self)._apply(fn, recurse))


def test_what_is_kept_stays_when_a_module_moves():
    module = Module()
    before = dict(module.named_parameters())
    module.double()
    kinds = {"first": torch.float64, "middle": torch.float32, "last": torch.float64}
    assert [(name, p.dtype) for name, p in module.named_parameters()] == list(kinds.items())
    assert all(before[name] is p for name, p in module.named_parameters())
    module.kept = ()
    assert {p.dtype for p in module.half().parameters()} == {torch.float16}
    assert list(module.state_dict()) == ["first", "middle", "last"]


def test_what_is_kept_is_there_again_after_an_error():
    module = Module()
    with pytest.raises(RuntimeError, match="no move"):
        apply_but_for(module, ("middle",), lambda: (_ for _ in ()).throw(RuntimeError("no move")))
    assert list(dict(module.named_parameters())) == ["first", "middle", "last"]


def test_scenes_stay_on_the_host_of_a_gpu_alone():
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    assert not any(stays_on_host(storage, 1 << 60, cpu) for storage in ("auto", "device", "host"))
    assert stays_on_host("host", 0, gpu) and not stays_on_host("device", 1 << 60, gpu)
    assert parameter_bytes([torch.zeros(3, 2), torch.zeros(5)]) == 44


def field_of(storage):
    sizes = {"micro_features": 2, "macro_features": 2, "num_base_planes": 2, "resolution": 4}
    config = TriplaneFieldConfig(implementation="torch", scene_storage=storage, **sizes)
    return config.setup(num_scenes=4, num_channels=3)


def test_a_field_moves_and_keeps_its_names():
    names = list(field_of("host").state_dict())
    moved = field_of("host").double()
    assert list(moved.state_dict()) == names and moved.micro_planes.dtype == torch.float64
    assert "scene_storage" not in moved.shared_settings()
    assert copy.deepcopy(moved).scene_planes(torch.tensor([1])).dtype == torch.float64


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_planes_on_the_host_train_as_those_on_the_device():
    from latent_nerfstudio.engine.row_adam import RowAdam

    planes = {}
    for storage in ("device", "host"):
        torch.manual_seed(0)
        field = field_of(storage).to("cuda")
        field.sparse_rows = frozenset(SCENE_PARAMETERS)
        optimizer = RowAdam(field.parameters(recurse=False), lr=0.1)
        own, shared = field.micro_planes.device.type, field.base_planes.device.type
        assert (own, shared) == ("cpu" if storage == "host" else "cuda", "cuda")
        for step in range(5):
            optimizer.zero_grad()
            field.scene_planes(torch.tensor([step % 4, 3]).unique()).square().sum().backward()
            optimizer.step()
        assert optimizer.state[field.micro_planes]["exp_avg"].device == field.micro_planes.device
        planes[storage] = field.scene_planes(torch.arange(4)).detach()
    torch.testing.assert_close(planes["host"], planes["device"])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_scenes_that_do_not_fit_stay_on_the_host():
    free = torch.cuda.mem_get_info()[0]
    assert stays_on_host("auto", free // 3, torch.device("cuda"))
    assert not stays_on_host("auto", free // 100, torch.device("cuda"))
