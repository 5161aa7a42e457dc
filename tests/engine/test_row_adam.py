"""RowAdam against torch's Adam: all rows, rows by themselves, and the rule for its rate."""

import copy

import pytest
import torch
from torch import nn

from latent_nerfstudio.engine.row_adam import RowAdam, RowAdamConfig
from latent_nerfstudio.fields.planes import gather_rows

SHAPES = pytest.mark.parametrize("shape", [(5, 3, 2, 4, 4), (4,), (3, 130)])
EPS = 1e-15


def parameter_of(shape, seed=0):
    return nn.Parameter(torch.randn(shape, generator=torch.Generator().manual_seed(seed)))


def gradient_of(shape, step):
    """Random numbers whose size differs from step to step."""
    generator = torch.Generator().manual_seed(100 + step)
    return torch.randn(shape, generator=generator) * 10 ** torch.randn((), generator=generator)


def sparse(gradient, rows):
    """The given rows of a gradient, in COO format."""
    index = torch.tensor(rows)
    return torch.sparse_coo_tensor(index[None], gradient[index], gradient.shape)


def change_rate(optimizer, step):
    optimizer.param_groups[0]["lr"] = 0.04 / (1 + step)


@SHAPES
@pytest.mark.parametrize("kind", ["dense", "sparse"])
def test_with_all_rows_each_step_is_that_of_adam_bit_by_bit(shape, kind):
    ours, theirs = parameter_of(shape), parameter_of(shape)
    row_adam, adam = RowAdam([ours]), torch.optim.Adam([theirs], eps=EPS)
    for step in range(30):
        gradient = gradient_of(shape, step)
        theirs.grad = gradient.clone()
        ours.grad = gradient.clone() if kind == "dense" else sparse(gradient, list(range(shape[0]))[::-1])
        for optimizer in (row_adam, adam):
            change_rate(optimizer, step)
            optimizer.step()
        assert torch.equal(ours, theirs)


@SHAPES
def test_each_row_is_stepped_as_if_it_were_alone(shape):
    """Against one Adam a row, which steps where the row is present; rows of one step have made different numbers."""
    together = parameter_of(shape)
    alone = [nn.Parameter(row.detach().clone()[None]) for row in together]
    row_adam, adams = RowAdam([together], lr=0.04), [torch.optim.Adam([p], lr=0.04, eps=EPS) for p in alone]
    for step in range(25):
        rows = [row for row in range(shape[0]) if step % 5 and step * (row + 1) % 4 < 2]
        gradient = gradient_of(shape, step)
        before = together.detach().clone()
        together.grad = sparse(gradient, rows) if rows else None
        row_adam.step()
        for row in range(shape[0]):
            if row in rows:
                alone[row].grad = gradient[row][None]
                adams[row].step()
            else:
                assert torch.equal(together[row], before[row])
        assert torch.equal(together, torch.cat(alone))


def test_sparse_and_dense_parameters_share_a_group_and_take_turns():
    first, second, reference = parameter_of((4, 3)), parameter_of((2, 2)), parameter_of((4, 3))
    optimizer, adam = RowAdam([first, second], lr=0.1), torch.optim.Adam([reference], lr=0.1, eps=EPS)
    for step in range(6):
        gradient = gradient_of((4, 3), step)
        first.grad = sparse(gradient, [0, 1, 2, 3]) if step % 2 else gradient.clone()
        second.grad = torch.ones(2, 2) if step % 2 else None
        reference.grad = gradient.clone()
        optimizer.step()
        adam.step()
    assert torch.equal(first, reference)
    assert optimizer.state[second]["row_steps"].tolist() == [3, 3]


@pytest.mark.parametrize("kept", [None, [0, 2]], ids=["dense", "sparse"])
def test_rows_may_have_rates_of_their_own(kept):
    factors = [0.5, 1.0, 2.0]
    together, alone = parameter_of((3, 4)), [nn.Parameter(row[None].clone()) for row in parameter_of((3, 4)).detach()]
    optimizer = RowAdam([together], lr=0.1)
    optimizer.row_factors = torch.tensor(factors)
    adams = [torch.optim.Adam([row], lr=0.1 * factor, eps=EPS) for row, factor in zip(alone, factors, strict=True)]
    for step in range(4):
        gradient = gradient_of((3, 4), step)
        together.grad = gradient.clone() if kept is None else sparse(gradient, kept)
        optimizer.step()
        for row in range(3) if kept is None else kept:
            alone[row].grad = gradient[row][None]
            adams[row].step()
    torch.testing.assert_close(together, torch.cat(alone), rtol=1e-6, atol=1e-7)
    assert "row_factors" not in str(optimizer.state_dict())


def loss_of(table, rows):
    return (gather_rows(table, torch.tensor(rows), sparse=True) - 1).square().sum()


def test_accumulated_gradients():
    once, twice = parameter_of((5, 3)), parameter_of((5, 3))
    for parameter in (once, twice):
        optimizer = RowAdam([parameter], lr=0.1)
        if parameter is once:
            (loss_of(parameter, [0, 2]) + loss_of(parameter, [2, 4])).backward()
        else:
            loss_of(parameter, [0, 2]).backward()
            loss_of(parameter, [2, 4]).backward()
        optimizer.step()
        assert optimizer.state[parameter]["row_steps"].tolist() == [1, 0, 1, 0, 1]
    torch.testing.assert_close(once, twice)


def test_a_run_of_adam_goes_on():
    ours, theirs = parameter_of((5, 3)), parameter_of((5, 3))
    adam, row_adam = torch.optim.Adam([theirs], lr=0.1, eps=EPS), RowAdam([ours], lr=0.1)
    for step in range(8):
        theirs.grad = gradient_of((5, 3), step)
        adam.step()
        if step == 3:
            ours.data.copy_(theirs.data)
            row_adam.load_state_dict(copy.deepcopy(adam.state_dict()))
        elif step > 3:
            ours.grad = sparse(gradient_of((5, 3), step), range(5))
            row_adam.step()
    assert torch.equal(ours, theirs)


def test_a_stretched_step_is_the_sum_of_the_steps_until_the_next_turn():
    """One row of three; late in a run, where the correction of the averages' bias is constant."""
    ours, theirs, betas = nn.Parameter(torch.zeros(3, 2)), nn.Parameter(torch.zeros(3, 2)), (0.9, 0.99)
    optimizer = RowAdam([ours], lr=0.01, betas=betas, max_idle=16.0)
    adam = torch.optim.Adam([theirs], lr=0.01, betas=betas, eps=EPS)
    gradient, alone = torch.tensor([[1.0, -3.0]]).expand(3, 2), torch.tensor([[1.0], [0.0], [0.0]])
    for step in range(900):
        theirs.grad = gradient * alone.roll(step % 3, 0)
        ours.grad = sparse(gradient, [step % 3])
        adam.step()
        optimizer.step()
    for name in ("exp_avg", "exp_avg_sq"):
        mine, dense = (o.state[p][name][2] for o, p in ((optimizer, ours), (adam, theirs)))
        torch.testing.assert_close(mine, dense, rtol=1e-3, atol=0)
    torch.testing.assert_close(ours, theirs, rtol=2e-2, atol=0.05)


def movements(turns):
    """How far a row of 24 moves at each of its turns with two other rows, under a gradient of 1 and a rate of 0.01."""
    table = nn.Parameter(torch.zeros(24, 1))
    optimizer, moved = RowAdam([table], lr=0.01, max_idle=16.0), []
    for _ in range(turns):
        for first in range(0, 24, 3):
            table.grad = sparse(torch.ones(24, 1), [first, first + 1, first + 2])
            before = float(table[4])
            optimizer.step()
            if first == 3:
                moved.append(before - float(table[4]))
    return moved


def test_a_row_moves_as_far_at_its_first_turn_as_at_its_last():
    """sqrt(8) times the rate, since its turn comes every eighth step: it is neither doubled at first nor learned."""
    assert movements(40) == pytest.approx([0.01 * 8**0.5] * 40, rel=0.1)


def test_who_takes_turns_is_said_to_the_group():
    """Two of eight rows are left, and both are in the step: it is one of Adam's."""
    table, reference = parameter_of((8, 3)), parameter_of((8, 3))
    optimizer, adam = RowAdam([table], lr=0.1, max_idle=16.0), torch.optim.Adam([reference], lr=0.1, eps=EPS)
    optimizer.param_groups[0]["rows_in_turn"] = 2
    table.grad, reference.grad = sparse(gradient_of((8, 3), 0), [3, 4]), gradient_of((8, 3), 0)
    optimizer.step()
    adam.step()
    assert torch.equal(table[3:5], reference[3:5])


def test_a_state_of_version_0_1_is_read():
    table = parameter_of((4, 2))
    optimizer = RowAdam([table], max_idle=16.0)
    table.grad = sparse(torch.ones(4, 2), [1])
    optimizer.step()
    stored = optimizer.state_dict()
    stored["state"][0].update(turn=torch.tensor(3.0), last_turn=torch.zeros(4))
    del stored["param_groups"][0]["rows_in_turn"]
    optimizer.load_state_dict(stored)
    optimizer.step()
    assert set(optimizer.state[table]) == {"exp_avg", "exp_avg_sq", "row_steps"}


def test_the_methods_use_it_for_scenes():
    from latent_nerfstudio.method_configs.igae import ig_ae, three_da_ae
    from latent_nerfstudio.method_configs.kplanes import latent_kplanes
    from latent_nerfstudio.method_configs.triplane import latent_triplane, triplane

    for method in (latent_triplane, triplane, ig_ae, three_da_ae):
        kinds = {name: type(group["optimizer"]) for name, group in method.config.optimizers.items()}
        assert {name for name, kind in kinds.items() if kind is RowAdamConfig} == {"planes", "shared_planes"}
        optimizer = method.config.optimizers["planes"]["optimizer"].setup([parameter_of((2, 2))])
        assert isinstance(optimizer, RowAdam) and optimizer.defaults["eps"] == EPS
    assert not any(isinstance(g["optimizer"], RowAdamConfig) for g in latent_kplanes.config.optimizers.values())
