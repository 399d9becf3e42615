"""Random numbers after a fork: different in every job, unless the runner's module has chosen the seed."""

import random
import sys
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Generators:
    """The states of the global generators at one moment."""

    python: Any
    numpy: Any

    @classmethod
    def capture(cls) -> "Generators":
        return cls(random.getstate(), _numpy_state())


@dataclass(frozen=True, slots=True)
class ChosenSeeds:
    """What importing the runners did to the global generators."""

    before: Generators
    after: Generators

    def apply(self) -> None:
        """To be called in a forked process: keeps a seed that was chosen, else takes a new one."""
        # Python itself reseeds `random` at a fork, numpy does not.
        if self.before.python != self.after.python:
            random.setstate(self.after.python)
        if self.before.numpy == self.after.numpy and "numpy.random" in sys.modules:
            sys.modules["numpy.random"].seed()


def _numpy_state() -> Any:
    if "numpy.random" not in sys.modules:
        return None
    state = sys.modules["numpy.random"].get_state(legacy=False)["state"]
    return (state["key"].tobytes(), state["pos"])
