"""The file in which a script tells how it gets on: a JSON object per line."""

import json
import math
from pathlib import Path
from typing import Any

from .context import RunContext

_READ_SIZE = 1 << 16
_LONGEST_LINE = 1 << 16


class ProgressFile:
    """Passes on what a script appends to a file. A line holds `progress` (0 to 1) and perhaps `message`; or `metric`, `value` and
    perhaps `step`; or `log` and perhaps `level`. What is none of these is told once, in the log."""

    def __init__(self, path: Path, context: RunContext) -> None:
        self._path = path
        self._context = context
        self._offset = 0
        self._rest = b""
        self._told = False

    def read(self, *, final: bool = False) -> None:
        """Passes on all lines that are complete by now; the `final` one need not have an end."""
        while data := self._more():
            *lines, self._rest = (self._rest + data).split(b"\n")
            for line in lines:
                self._take(line)
            if len(self._rest) > _LONGEST_LINE:
                self._take(self._rest)
                self._rest = b""
        if final:
            self._take(self._rest)
            self._rest = b""

    def _more(self) -> bytes:
        try:
            if self._path.stat().st_size < self._offset:
                # It was begun anew.
                self._offset, self._rest = 0, b""
            with self._path.open("rb") as file:
                file.seek(self._offset)
                data = file.read(_READ_SIZE)
        except OSError:
            return b""
        self._offset += len(data)
        return data

    def _take(self, line: bytes) -> None:
        if not line.strip():
            return
        try:
            self._pass_on(json.loads(line))
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError):
            if not self._told:
                shown = line[:200].decode(errors="replace")
                self._context.log(f"this line in the progress file is not understood, nor are others like it: {shown}", "WARNING")
            self._told = True

    def _pass_on(self, line: dict[str, Any]) -> None:
        if "progress" in line:
            self._context.progress(_number(line["progress"]), str(line.get("message") or ""))
        elif "metric" in line:
            self._context.metric(str(line["metric"]), _number(line["value"]), line.get("step"))
        else:
            self._context.log(str(line["log"]), str(line.get("level") or "INFO"))


def _number(value: Any) -> float:
    """Raises ValueError for what no event can hold."""
    number = float(value)
    if not math.isfinite(number):
        raise ValueError("not a finite number")
    return number
