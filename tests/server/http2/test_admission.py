"""How many calls may wait for their first turn, and when they have it."""

from collections import deque
from dataclasses import dataclass

import pytest

from modelwire_server.http2.admission import Admission

MOST, OF_A_CROWD, AT_ONCE = 1600, 400, 64


@dataclass(eq=False)
class Call:
    turns: "Turns"
    has_ended: bool = False

    def take_turn(self) -> bool:
        if not self.has_ended:
            self.turns.next.append(self)
        return not self.has_ended


class Turns:
    """Turns of an event loop on a clock of its own."""

    def __init__(self) -> None:
        self.now = 100.0
        self.admission = Admission(MOST, clock=lambda: self.now)
        self.next: deque[Call] = deque()

    def come(self, calls: int, *, crowd: bool = False) -> list[Call]:
        """Those that were let in. A crowd's callers may have no more under way."""
        taken: list[Call] = []
        for _ in range(calls):
            if self.admission.has_room:
                taken.append(Call(self))
                self.admission.schedule(taken[-1])
        if crowd:
            self.admission.crowded(calls)
        return taken

    def turn(self, *, seconds_each: float = 0.0) -> int:
        """What was to begin has; returns how many."""
        begin, self.next = self.next, deque()
        for _ in begin:
            self.now += seconds_each
            self.admission.begun()
        return len(begin)

    def drain(self, *, seconds_each: float = 0.0) -> int:
        return sum(iter(lambda: self.turn(seconds_each=seconds_each), 0))

    def overload(self, turns: int, *, seconds_each: float) -> list[int]:
        """How many were let in, of many more that came in each turn."""
        taken = []
        for _ in range(turns):
            taken.append(len(self.come(1000, crowd=True)))
            self.turn(seconds_each=seconds_each)
        return taken


def test_no_more_than_the_most_wait() -> None:
    turns = Turns()
    assert len(turns.come(5000)) == MOST
    assert not turns.admission.has_room
    assert turns.drain() == MOST
    assert len(turns.come(5000)) == MOST


def test_few_begin_in_one_turn_in_the_order_in_which_they_came() -> None:
    turns = Turns()
    calls = turns.come(AT_ONCE)
    assert list(turns.next) == calls
    calls += turns.come(AT_ONCE + 1)
    begun = []
    while turns.next:
        assert len(turns.next) <= AT_ONCE
        begun += turns.next
        turns.turn()
    assert begun == calls


def test_a_turn_that_has_room_is_for_those_that_come_meanwhile() -> None:
    turns = Turns()
    first, second = turns.come(1), turns.come(2)
    assert list(turns.next) == first + second


def test_those_that_have_ended_give_their_turn_to_others() -> None:
    turns = Turns()
    turns.come(AT_ONCE)
    ended, going = turns.come(500), turns.come(3)
    for call in ended:
        call.has_ended = True
    turns.turn()
    assert list(turns.next) == going
    for call in (*going, *turns.come(2)):
        call.has_ended = True
    assert turns.drain() == len(going) + 2
    assert len(turns.come(5000)) == MOST


def test_when_all_that_wait_have_ended_the_next_begins_at_once() -> None:
    turns = Turns()
    turns.come(AT_ONCE)
    for call in turns.come(100):
        call.has_ended = True
    turns.turn()
    assert not turns.next
    assert turns.come(1) == list(turns.next)


def test_of_a_crowd_fewer_may_wait() -> None:
    turns = Turns()
    taken = turns.overload(100, seconds_each=0.0001)
    assert taken[0] == 1000
    assert set(taken[-50:]) == {AT_ONCE}
    turns.drain()
    assert len(turns.come(1000)) == OF_A_CROWD


def test_of_a_crowd_no_more_wait_than_begin_soon() -> None:
    turns = Turns()
    turns.overload(100, seconds_each=2**-11)
    turns.drain(seconds_each=2**-11)
    assert len(turns.come(1000)) == 204  # in 0.1 s


def test_some_are_let_in_however_long_they_take() -> None:
    turns = Turns()
    assert turns.overload(100, seconds_each=0.5)[-1] == AT_ONCE


@pytest.mark.parametrize("seconds_each", [0.0001, 0.01])
def test_callers_who_could_ask_more_and_do_not_are_not_refused_for_being_slow(seconds_each: float) -> None:
    turns = Turns()
    for _ in range(20):
        assert len(turns.come(MOST)) == MOST
        turns.drain(seconds_each=seconds_each)


def test_one_call_that_holds_all_up_changes_nothing() -> None:
    turns = Turns()
    turns.come(1, crowd=True)
    turns.drain(seconds_each=3)
    assert len(turns.come(5000, crowd=True)) == MOST


def test_a_moment_without_a_crowd_lets_all_in_again() -> None:
    turns = Turns()
    turns.overload(50, seconds_each=0.01)
    turns.drain(seconds_each=0.01)
    assert len(turns.come(5000)) == AT_ONCE
    turns.drain()
    for _ in range(12):
        turns.come(2)
        turns.drain(seconds_each=0.005)
    assert len(turns.come(5000)) == MOST


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
    assert len(turns.come(5000)) == MOST
