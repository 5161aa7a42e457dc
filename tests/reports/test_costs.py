"""Costs of many scenes, against sums by hand and the papers' own numbers."""

import pytest

from latent_nerfstudio.reports.run_report import Cost, break_even


def test_totals_of_the_published_table():
    """3Da-AE, table 1: 40 hours at first, 2 minutes a scene; 4.4 minutes each of 1000."""
    published = Cost(entry=40.0 * 60.0, scene=2.0)
    assert published.total(1000.0) == 4400
    assert published.effective(1000.0) == pytest.approx(4.4)


def test_break_even_of_the_published_numbers():
    """Scaled Inverse Graphics, section 6: 31.2 hours at first and 2.23 minutes against 16.02 a scene, 388.7 MB and 0.48
    against 1.5; the times there begin with 500 scenes that the entry cost includes."""
    ours, theirs = Cost(31.2 * 60.0 - 500.0 * 2.23, 2.23), Cost(0.0, 16.02)
    count = break_even(ours, theirs)
    assert count is not None
    assert ours.total(count) == pytest.approx(theirs.total(count))
    assert break_even(Cost(388.7, 0.48), Cost(0.0, 1.5)) == pytest.approx(381, abs=0.5)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (Cost(0.0, 1.0), Cost(0.0, 2.0), 0.0),
        (Cost(5.0, 1.0), Cost(10.0, 2.0), 0.0),
        (Cost(10.0, 1.0), Cost(0.0, 2.0), 10.0),
        (Cost(0.0, 2.0), Cost(10.0, 1.0), None),
        (Cost(0.0, 1.0), Cost(5.0, 1.0), 0.0),
        (Cost(5.0, 1.0), Cost(5.0, 1.0), None),
        (Cost(5.0, 1.0), Cost(0.0, 1.0), None),
    ],
)
def test_break_even(one, other, expected):
    assert break_even(one, other) == expected
