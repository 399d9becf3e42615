"""How long calls of a model take, learned from those that were made."""

# The weight of a new measurement; what was before it fades.
_WEIGHT = 0.25
# Calls of so many times the rows that were ever seen may take any time.
_BEYOND = 8


class CallCost:
    """The time of a call as a line over its rows, fitted to the latest calls. `ceiling` is a time in seconds after which all that was
    known before counts no more: the model is not what it was."""

    def __init__(self, ceiling: float) -> None:
        self._ceiling = ceiling
        self._calls = 0
        self._most_rows = 0
        self._rows = self._seconds = 0.0
        self._variance = self._covariance = self._slope = 0.0

    def observe(self, rows: int, seconds: float) -> None:
        """Takes note of a call. The first one is known to be slow, so it counts only until there is a second."""
        self._calls += 1
        self._most_rows = max(self._most_rows, rows)
        weight = 1.0 if self._calls <= 2 or seconds > self._ceiling else _WEIGHT
        more_rows, more_seconds = rows - self._rows, seconds - self._seconds
        self._rows += weight * more_rows
        self._seconds += weight * more_seconds
        self._variance = (1 - weight) * (self._variance + weight * more_rows * more_rows)
        self._covariance = (1 - weight) * (self._covariance + weight * more_rows * more_seconds)
        self._slope = max(0.0, self._covariance / self._variance) if self._variance > 0.5 else 0.0

    def of(self, rows: int) -> float | None:
        """The seconds that a call with so many rows takes; None if there is no telling."""
        if self._calls < 2 or rows > _BEYOND * self._most_rows:
            return None
        return max(0.0, self._seconds + self._slope * (rows - self._rows))
