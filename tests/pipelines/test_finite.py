"""Numbers that are no numbers."""

import math

import pytest
import torch

from latent_nerfstudio.pipelines.finite import check_finite


@pytest.mark.parametrize(("number", "shown"), [(math.nan, "nan"), (math.inf, "inf"), (-math.inf, "-inf")])
def test_what_is_not_finite_is_named_with_its_step(number, shown):
    values = {"good": torch.ones(3), "bad": torch.tensor([[1.0, number], [2.0, 3.0]])}
    message = rf"^parameter bad at step 17: expected finite numbers, got {shown}; lower the learning rates or .* kept$"
    with pytest.raises(FloatingPointError, match=message):
        check_finite(values, 17, "parameter")
    with pytest.raises(FloatingPointError, match="^loss bad at step 3: expected finite numbers"):
        check_finite({"bad": torch.tensor(number)}, 3, "loss")


def test_infinities_that_cancel_are_found():
    with pytest.raises(FloatingPointError, match="loss both at step 0: expected finite numbers, got"):
        check_finite({"both": torch.tensor([math.inf, -math.inf])}, 0, "loss")


def test_finite_numbers_whose_sum_overflows_pass():
    huge = torch.full((4,), 3e38)
    half = torch.full((8,), 6e4, dtype=torch.float16)
    assert not bool(huge.sum().isfinite()) and not bool(half.sum().isfinite())
    check_finite({"huge": huge, "half": half, "one": torch.ones(2)}, 0, "parameter")
    with pytest.raises(FloatingPointError, match="parameter last at step 0"):
        check_finite({"huge": huge, "last": torch.tensor([1.0, math.nan])}, 0, "parameter")


def test_what_has_nothing_to_check():
    check_finite({}, 0, "loss")
    check_finite({"count": torch.tensor([1, 2]), "mask": torch.tensor(True)}, 0, "parameter")
    check_finite({"empty": torch.zeros(0), "count": torch.tensor(1), "double": torch.ones(1).double()}, 0, "parameter")
