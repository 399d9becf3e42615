"""How long calls take, as far as it can be told from those before."""

import pytest

from modelwire_server.inference.costs import CallCost


def learned(*calls: tuple[int, float]) -> CallCost:
    cost = CallCost(ceiling=0.005)
    for rows, seconds in calls:
        cost.observe(rows, seconds)
    return cost


def test_one_call_tells_nothing_for_it_is_the_slowest() -> None:
    assert CallCost(0.005).of(1) is None
    assert learned((1, 2.0)).of(1) is None
    assert learned((1, 2.0), (1, 0.001)).of(1) == pytest.approx(0.001)


def test_rows_cost_what_they_did() -> None:
    cost = learned(*[(rows, 0.0001 + rows * 1e-6) for rows in (1, 10, 100, 1000) * 10])
    for rows in (1, 50, 500, 2000):
        assert cost.of(rows) == pytest.approx(0.0001 + rows * 1e-6, rel=1e-6)


def test_there_is_no_telling_of_many_more_rows() -> None:
    cost = learned((4, 0.001), (4, 0.001))
    assert cost.of(32) == pytest.approx(0.001)
    assert cost.of(33) is None


def test_a_trend_that_makes_no_sense_is_none() -> None:
    """More rows never take less time, and no call takes less than none."""
    cost = learned((1, 0.004), (1, 0.004), (1000, 0.001))
    assert cost.of(1) == cost.of(1000) == pytest.approx(0.00325)
    assert learned((100, 0.0), (100, 0.0), (200, 0.004)).of(1) == 0.0


def test_one_call_that_is_much_too_slow_is_believed_and_forgotten_after_some_that_are_fast() -> None:
    cost = learned(*[(1, 0.0001)] * 20, (1, 0.2))
    assert cost.of(1) == pytest.approx(0.2)
    for _ in range(30):
        cost.observe(1, 0.0001)
    assert cost.of(1) == pytest.approx(0.0001, abs=1e-4)
