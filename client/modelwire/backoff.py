"""When to try again."""

import random
import time

from modelwire.errors import ModelwireError

FIRST_DELAY = 0.1
LARGEST_DELAY = 10.0


class Backoff:
    """Growing, jittered delays, until nothing has come for `patience` seconds."""

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._delay = FIRST_DELAY
        self._gives_up = time.monotonic() + patience

    def reset(self) -> None:
        """Something came: patience begins anew."""
        self._delay = FIRST_DELAY
        self._gives_up = time.monotonic() + self._patience

    def next(self, error: ModelwireError) -> float:
        """Seconds to wait after `error`; raises it when patience is at its end."""
        delay = max(self._delay, error.retry_after or 0.0) * random.uniform(0.8, 1.2)  # noqa: S311 - spreads load, hides nothing
        if time.monotonic() + delay > self._gives_up:
            raise error
        self._delay = min(self._delay * 2, LARGEST_DELAY)
        return delay
