"""Whether others are there, and how many: found out from who has come."""

import pytest

from modelwire_server.inference.crowds import Crowd


def waits(crowd: Crowd, predictions: int, least: int = 2, come: int = 1) -> int:
    """How many of so many predictions, of which each comes after the one before was answered, wait; so many come meanwhile."""
    waited = 0
    for _ in range(predictions):
        if not crowd.is_too_small(least, under_way=1):
            waited += 1
            assert not crowd.is_complete(1)
            crowd.met(come, least)
    return waited


def gathered(crowd: Crowd, callers: int) -> bool:
    """Whether a call of so many callers begins before they have waited as long as they may."""
    for number in range(1, callers + 1):
        if crowd.is_complete(number):
            return True
    crowd.met(callers, 2)
    return False


def test_one_who_stays_alone_waits_ever_more_rarely() -> None:
    crowd = Crowd()
    assert [waits(crowd, 8), waits(crowd, 16), waits(crowd, 32)] == [1, 1, 1]
    assert waits(crowd, 10_000) == 12  # after 64, 128, 256 and 512 more, then once in 1,024


def test_who_was_met_is_waited_for_until_nobody_comes() -> None:
    crowd = Crowd()
    assert waits(crowd, 8, come=3) == 1
    assert waits(crowd, 100, come=3) == 100
    assert waits(crowd, 1) == 1
    assert crowd.is_too_small(2, under_way=1)


def test_a_crowd_may_be_too_small_to_be_worth_it() -> None:
    crowd = Crowd()
    assert waits(crowd, 8, least=4, come=3) == 1
    assert waits(crowd, 100, least=4, come=3) == 2
    assert waits(crowd, 100, least=2, come=3) == 100
    assert waits(crowd, 128, least=4, come=4) > 0
    assert waits(crowd, 100, least=4, come=4) == 100


def test_somebody_who_is_not_answered_yet_is_company() -> None:
    assert not Crowd().is_too_small(2, under_way=2)
    assert Crowd().is_too_small(4, under_way=2)


@pytest.mark.parametrize("callers", [2, 3, 8, 64])
def test_as_many_are_waited_for_as_there_are(callers: int) -> None:
    crowd = Crowd()
    crowd.met(2, 2)
    in_time = [gathered(crowd, callers) for _ in range(2000)]
    # Who waits in vain for more does so seldom.
    assert sum(in_time) > 2000 * 7 / 8


def test_fewer_are_waited_for_when_fewer_come() -> None:
    crowd = Crowd()
    for _ in range(100):
        gathered(crowd, 50)
    late = [not gathered(crowd, 3) for _ in range(50)]
    assert late[0]
    assert sum(late[20:]) <= 6
