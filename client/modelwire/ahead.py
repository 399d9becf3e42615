"""Reading an iterator in a thread of its own, some items ahead of who takes them."""

from __future__ import annotations

import threading
from collections import deque
from contextvars import copy_context
from functools import partial
from typing import TYPE_CHECKING, Generic, TypeAlias, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

# So much is read before it is taken: bytes, and items.
AHEAD_BYTES = 2 * 1024 * 1024
AHEAD_ITEMS = 256

T = TypeVar("T")
# Makes fewer items of some that are ready at the same time.
Pack: TypeAlias = "Callable[[list[T]], Iterable[T]]"


class Ahead(Generic[T]):
    """What an iterator gives, read ahead. Close it when nothing more is wanted."""

    def __init__(self, items: Iterator[T]) -> None:
        self._items = items
        self._change = threading.Condition()
        self._read: deque[T] = deque()
        self._bytes = 0
        self._is_over = False
        self._failure: BaseException | None = None
        work = partial(copy_context().run, self._run)
        threading.Thread(target=work, name="modelwire-requests", daemon=True).start()

    def _run(self) -> None:
        try:
            for item in self._items:
                if not self._put(item):
                    return
        except BaseException as error:
            self._failure = error
        with self._change:
            self._is_over = True
            self._wake()

    def _put(self, item: T) -> bool:
        """Waits for room; tells whether there is anybody who wants more."""
        with self._change:
            self._read.append(item)
            self._bytes += _size(item)
            self._wake()
            while self._is_full() and not self._is_over:
                self._change.wait()
            return not self._is_over

    def _is_full(self) -> bool:
        return self._bytes >= AHEAD_BYTES or len(self._read) >= AHEAD_ITEMS

    def _wake(self) -> None:
        """Somebody may wait for what is there now."""
        self._change.notify()

    def take(self) -> list[T]:
        """Waits until there is something, and takes all that is there: nothing, at the end. Raises what the iterator raised."""
        with self._change:
            while not self._is_ready():
                self._change.wait()
            return self._taken()

    def _is_ready(self) -> bool:
        return bool(self._read) or self._is_over

    def _taken(self) -> list[T]:
        taken = list(self._read)
        self._read.clear()
        self._bytes = 0
        self._change.notify()
        if not taken and self._failure is not None:
            raise self._failure
        return taken

    def close(self) -> None:
        """Nothing more is wanted."""
        with self._change:
            self._is_over = True
            self._change.notify_all()


def _size(item: object) -> int:
    return len(item) if isinstance(item, bytes) else AHEAD_BYTES // 2
