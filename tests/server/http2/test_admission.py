"""How many calls may wait for their first turn."""

from modelwire_server.http2.admission import Admission

MOST = 400


class Turns:
    """Rounds of calls on a clock of their own."""

    def __init__(self) -> None:
        self.now = 100.0
        self.admission = Admission(MOST, clock=lambda: self.now)

    def round(self, calls: int, *, seconds_each: float, pause: float = 0.0, crowd: bool = True) -> int:
        """As many come as there are, from callers who may have no more if they are a crowd; returns how many were let in."""
        taken = 0
        for _ in range(calls):
            if self.admission.has_room:
                self.admission.scheduled()
                taken += 1
        if crowd:
            self.admission.crowded(calls)
        for _ in range(taken):
            self.now += seconds_each
            self.admission.begun()
        self.now += pause
        return taken


def test_no_more_than_the_most() -> None:
    turns = Turns()
    assert turns.round(1000, seconds_each=0) == MOST
    assert turns.round(1000, seconds_each=0) == MOST


def test_a_burst_is_let_in() -> None:
    turns = Turns()
    assert turns.round(MOST, seconds_each=0.0002) == MOST
    assert turns.round(MOST, seconds_each=0.0002) == MOST


def test_bursts_now_and_then_are_let_in() -> None:
    turns = Turns()
    assert [turns.round(MOST, seconds_each=0.0002, pause=1) for _ in range(20)] == [MOST] * 20


def test_rounds_that_are_always_too_long_become_shorter() -> None:
    turns = Turns()
    for _ in range(20):
        turns.round(1000, seconds_each=0.0002)
    assert 64 <= turns.round(1000, seconds_each=0.0002) <= 190


def test_callers_who_could_ask_more_and_do_not_are_not_refused_for_being_slow() -> None:
    turns = Turns()
    assert [turns.round(MOST, seconds_each=0.01, crowd=False) for _ in range(20)] == [MOST] * 20


def test_it_is_the_time_that_counts_and_not_whether_there_was_room() -> None:
    """Callers that may not have more under way send no more, however many wait with them."""
    turns = Turns()
    for _ in range(20):
        turns.round(300, seconds_each=0.0002)
    assert 64 <= turns.round(300, seconds_each=0.0002) <= 190


def test_some_are_let_in_however_long_they_take() -> None:
    turns = Turns()
    for _ in range(20):
        turns.round(1000, seconds_each=0.5)
    assert turns.round(1000, seconds_each=0.5) == 64


def test_one_call_that_holds_all_up_changes_nothing() -> None:
    turns = Turns()
    turns.round(10, seconds_each=0.0001)
    turns.round(1, seconds_each=3)
    assert turns.round(1000, seconds_each=0.0001) == MOST


def test_when_there_is_time_more_are_let_in_again() -> None:
    turns = Turns()
    for _ in range(20):
        turns.round(1000, seconds_each=0.01)
    taken = [turns.round(1000, seconds_each=0.00001) for _ in range(20)]
    assert (taken[0], taken[-1]) == (64, MOST)
    assert taken == sorted(taken)


def test_a_moment_without_too_many_lets_all_in_again() -> None:
    turns = Turns()
    for _ in range(10):
        turns.round(1000, seconds_each=0.5)
    for _ in range(12):
        turns.round(2, seconds_each=0.0001, pause=0.01)
    assert turns.round(1000, seconds_each=0.0001) == MOST


def test_it_keeps_to_what_can_be_answered() -> None:
    turns = Turns()
    for _ in range(20):
        turns.round(1000, seconds_each=0.0002)
    assert all(64 <= turns.round(1000, seconds_each=0.0002) <= 200 for _ in range(100))


def test_what_has_not_all_arrived_is_counted_for_a_moment() -> None:
    turns = Turns()
    admission = turns.admission
    expected = [admission.expect() for _ in range(MOST)]
    assert not admission.has_room
    admission.arrived(expected.pop())
    assert admission.has_room
    expected.append(admission.expect())
    turns.now += 1
    assert admission.has_room
    later = [admission.expect() for _ in range(MOST)]
    for one in expected:
        admission.arrived(one)
    assert not admission.has_room
    for one in later:
        admission.arrived(one)
    assert turns.round(1000, seconds_each=0) == MOST
