"""Whether others are there, and how many: found out from who has come."""

import pytest

from modelwire_server.inference.crowds import Crowd


def waits(crowd: Crowd, predictions: int) -> int:
    """How many of so many lone predictions wait; nobody comes."""
    waited = 0
    for _ in range(predictions):
        if not crowd.is_alone(under_way=1):
            waited += 1
            crowd.met(1)
    return waited


def test_one_who_stays_alone_waits_ever_more_rarely() -> None:
    crowd = Crowd()
    assert [waits(crowd, 8), waits(crowd, 16), waits(crowd, 32)] == [1, 1, 1]
    assert waits(crowd, 10_000) == 12  # after 64, 128, 256 and 512 more, then once in 1,024


def test_somebody_who_is_not_answered_yet_is_company() -> None:
    assert not Crowd().is_alone(under_way=2)


def test_who_was_met_is_waited_for_until_nobody_comes() -> None:
    crowd = Crowd()
    crowd.met(3)
    assert not any(crowd.is_alone(1) for _ in range(100))
    crowd.met(1)
    assert crowd.is_alone(1)


@pytest.mark.parametrize("callers", [2, 3, 8, 64])
def test_as_many_are_waited_for_as_there_are(callers: int) -> None:
    crowd, late = Crowd(), 0
    for _ in range(2000):
        if crowd.size <= callers:
            crowd.gathered()
        else:
            late += 1
            crowd.met(callers)
    assert callers <= crowd.size <= callers + max(1, callers // 2)
    assert late < 2000 / 8  # who waits in vain for more does so seldom


def test_fewer_are_waited_for_when_fewer_come() -> None:
    crowd = Crowd()
    while crowd.size < 20:
        crowd.gathered()
    for _ in range(20):
        crowd.met(2)
    assert crowd.size == 2
