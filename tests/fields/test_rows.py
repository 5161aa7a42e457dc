"""Rows of parameters: values and gradients against plain indexing."""

import pytest
import torch
from torch import nn

from latent_nerfstudio.fields.planes import gather_rows

SHAPES = pytest.mark.parametrize("shape", [(6, 3), (6,), (6, 3, 2, 4, 4)])
INDEX = torch.tensor([1, 4, 1])


def table_of(shape):
    return nn.Parameter(torch.randn(shape))


@SHAPES
@pytest.mark.parametrize("sparse", [True, False])
def test_rows_and_their_gradient_are_those_of_indexing(shape, sparse):
    table, plain = table_of(shape), table_of(shape)
    plain.data.copy_(table.data)
    factors = torch.randn(3, *shape[1:])
    for one, rows in ((table, gather_rows(table, INDEX, sparse)), (plain, plain[INDEX])):
        assert torch.equal(rows, one.detach()[INDEX])
        (rows.square() * factors).sum().backward()
    assert table.grad.is_sparse == sparse
    assert torch.equal(table.grad.to_dense() if sparse else table.grad, plain.grad)
    if sparse:
        assert table.grad.coalesce().indices().tolist() == [[1, 4]]


def test_gradients_of_several_gathers_add_up():
    table = table_of((6, 3))

    def rows(*index):
        return gather_rows(table, torch.tensor(index), sparse=True).sum()

    rows(1, 4).backward()
    assert table.grad.is_coalesced()
    table.grad = None
    (rows(0, 2) + rows(2, 5)).backward()
    rows(5).backward()
    assert table.grad.is_sparse
    assert table.grad.to_dense()[:, 0].tolist() == [1, 0, 2, 0, 0, 2]
