"""What is going to happen, drawn from a seed."""

import random
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

KINDS = {"train": 5, "predict": 3}
# The fragile one gives a lost job up, the others try it again.
RUNNERS = {"turbulent": 4, "fragile": 1, "scripts": 3}
FATES = {"succeed": 6, "fail": 2, "cancel": 2}


@dataclass(frozen=True, slots=True)
class Errand:
    """One job: what it is, how it is meant to end, and how many seconds it works. Before it is submitted its client waits for `pause`
    seconds; if it is meant to be canceled that happens `patience` seconds after."""

    number: int
    kind: str
    runner: str
    fate: str
    seconds: float
    stray: bool
    pause: float
    patience: float

    @property
    def frame(self) -> dict[str, list[Any]]:
        """What the runner is told, in one row."""
        return {"number": [self.number], "fate": [self.fate], "seconds": [self.seconds], "stray": [self.stray]}


class Blow(StrEnum):
    """What happens to a server: kill -9; its fork server is killed and it goes on; it stands still, and then goes on as if nothing had
    happened."""

    KILL = "kill"
    UNFORK = "unfork"
    FREEZE = "freeze"


@dataclass(frozen=True, slots=True)
class Strike:
    """`after` so many jobs have ended and `delay` seconds more, a blow hits server number `victim`, which is away for `away` seconds."""

    blow: Blow
    after: int
    delay: float
    victim: int
    away: float


def errands(dice: random.Random, jobs: int) -> list[Errand]:
    return [_errand(dice, number) for number in range(jobs)]


def _errand(dice: random.Random, number: int) -> Errand:
    fate = _draw(dice, FATES)
    return Errand(
        number=number,
        kind=_draw(dice, KINDS),
        runner=_draw(dice, RUNNERS),
        fate=fate,
        # Long enough to be there still when the cancel comes.
        seconds=60.0 if fate == "cancel" else dice.uniform(0.02, 0.8),
        stray=dice.random() < 0.2,
        pause=dice.uniform(0.0, 0.3),
        patience=dice.uniform(0.0, 3.0),
    )


def _draw(dice: random.Random, weights: dict[str, int]) -> str:
    return dice.choices(list(weights), list(weights.values()))[0]


def strikes(dice: random.Random, kills: int, *, jobs: int, servers: int, longest: float) -> list[Strike]:
    """Blows spread over the whole run, so that each meets work: so many kills, and fewer of the others. None takes a server away for
    more than `longest` seconds."""
    blows = [*[Blow.KILL] * kills, *[Blow.UNFORK] * (kills // 3), *[Blow.FREEZE] * (kills // 3)]
    dice.shuffle(blows)
    moments = sorted(dice.sample(range(int(0.9 * jobs)), len(blows)))
    return [
        Strike(blow, after, dice.uniform(0.0, 0.3), dice.randrange(servers), dice.uniform(0.0, longest))
        for blow, after in zip(blows, moments, strict=True)
    ]
