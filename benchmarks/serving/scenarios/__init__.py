"""What is measured, in the order of the page of results."""

from collections.abc import Callable
from dataclasses import dataclass, field

from ..peer import Peer
from ..peers import ALL
from ..results import Section


@dataclass(frozen=True)
class Plan:
    """What part of the whole is to be done, and how long it may take."""

    peers: list[Peer] = field(default_factory=lambda: list(ALL))
    rounds: int = 3
    seconds: float = 3.0
    warm_up: float = 1.0


Scenario = Callable[[Plan], Section]
