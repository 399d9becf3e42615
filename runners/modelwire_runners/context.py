"""What a runner's function can tell and ask while it works."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any


class RunCanceled(Exception):
    """Raised by RunContext.check() when the work is to stop."""


def _nothing(kind: str, data: dict[str, Any]) -> None:
    """Where nobody listens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunContext:
    """Progress, metrics and log lines out; cancel flag and deadline in. A function gets one if it has a parameter `context`.

    `folder` is a scratch folder that is removed when the work ends. `run_info` is what this run asks for beyond its config.
    """

    job_id: str = ""
    run_info: dict[str, Any] = field(default_factory=dict)
    folder: Path | None = None
    deadline: datetime | None = None
    report: Callable[[str, dict[str, Any]], None] = field(default=_nothing, repr=False)
    is_canceled: Callable[[], bool] = field(default=lambda: False, repr=False)

    def progress(self, fraction: float, message: str = "") -> None:
        """Says how far the work is: 0 to 1, values outside are clipped."""
        self.report("progress", {"fraction": min(1.0, max(0.0, float(fraction))), "message": message})

    def metric(self, name: str, value: float, step: int | None = None) -> None:
        """Reports a measurement, for instance the loss of a step."""
        data: dict[str, Any] = {"name": name, "value": float(value)}
        self.report("metric", data if step is None else {**data, "step": int(step)})

    def log(self, text: str, level: str = "INFO") -> None:
        """Writes a line to the job's log."""
        self.report("log", {"source": "logging", "level": level, "logger": "runner", "text": text})

    @property
    def canceled(self) -> bool:
        """Whether the work is to stop. A function that looks here can end in good order before it is ended."""
        return self.is_canceled()

    def check(self) -> None:
        """Raises RunCanceled if the work is to stop."""
        if self.canceled:
            raise RunCanceled("the run was canceled")

    def remaining(self) -> float | None:
        """Seconds until the deadline, None without one."""
        return None if self.deadline is None else self.deadline.timestamp() - time.time()

    @classmethod
    def ending_in(cls, seconds: float | None, **fields: Any) -> "RunContext":
        """A context whose deadline is so many seconds away."""
        deadline = None if seconds is None else datetime.fromtimestamp(time.time() + seconds, UTC)
        return cls(deadline=deadline, **fields)
