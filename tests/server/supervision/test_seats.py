"""How soon a process that has ended is replaced."""

from modelwire_server.supervision.seats import LIVED_SECONDS, Backoff


def test_one_that_did_its_work_is_replaced_at_once_however_often() -> None:
    backoff = Backoff()
    for _ in range(5):
        backoff.ended(LIVED_SECONDS)
        assert backoff.pause == 0


def test_those_that_end_at_their_start_are_replaced_ever_more_slowly() -> None:
    backoff = Backoff()
    pauses = []
    for _ in range(12):
        backoff.ended(0.0)
        pauses.append(backoff.pause)
    assert pauses[:4] == [0, 0.5, 1, 2]
    assert pauses[-1] == 30
    backoff.ended(LIVED_SECONDS)
    assert backoff.pause == 0
