"""What a training returned, where something stands in for it: read when it is first needed, which may be never."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Self


class OriginalNeeded(BaseException):
    """A prediction needs an original that is not in memory: whoever called for it reads the original and calls again.

    No Exception, so that a predict function which catches those does not take it for a failure of its model.
    """


class Original:
    """What a training returned, if it is in memory. `read` gets it from where it is stored."""

    def __init__(self, read: Callable[[], Awaitable[Any]]) -> None:
        self._read = read
        self._reading: asyncio.Task[None] | None = None
        self._value: Any = None
        self.is_read = False

    @classmethod
    def known(cls, value: Any) -> Self:
        """One that is in memory already."""

        async def same() -> Any:
            return value

        original = cls(same)
        original._value, original.is_read = value, True
        return original

    @property
    def is_there_soon(self) -> bool:
        """Whether it is in memory, or being read."""
        return self.is_read or self._reading is not None

    def get(self) -> Any:
        """Raises OriginalNeeded."""
        if not self.is_read:
            raise OriginalNeeded
        return self._value

    def method(self, name: str) -> Callable[..., Any]:
        """A method of it, which raises OriginalNeeded when it is called."""
        return lambda *arguments, **options: getattr(self.get(), name)(*arguments, **options)

    async def read(self) -> None:
        """Has it in memory afterwards; those who need it at the same time wait for one read. Raises what reading it raises."""
        if self.is_read:
            return
        if self._reading is None:
            self._reading = asyncio.create_task(self._keep(), name="read the original of a model")
        # One caller that gives up must not end the read that others wait for.
        await asyncio.shield(self._reading)

    async def _keep(self) -> None:
        try:
            self._value = await self._read()
            self.is_read = True
        finally:
            self._reading = None
