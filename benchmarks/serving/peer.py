"""What a server must tell of itself to be measured."""

import re
import tempfile
import time
import urllib.error
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, TypeVar

import grpc
import numpy as np

from .environment import python_of, version_in
from .process import Processes, free_port, running
from .work import Work, WrongAnswerError, ask

SERVERS = Path(__file__).parent / "servers"
START_SECONDS = 90

Answer = TypeVar("Answer")


class NotRunningError(Exception):
    """The server could not be started; the text is the reason."""


@dataclass(frozen=True)
class Place:
    """Where a server is to run: the interpreter of its environment, a folder of its own, ports; and the columns of its model."""

    python: str
    folder: Path
    columns: int
    port: int = field(default_factory=free_port)
    other_port: int = field(default_factory=free_port)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"


@dataclass(frozen=True)
class Question:
    """Rows to predict for, with what the model says about them."""

    rows: np.ndarray = field(repr=False)
    expected: np.ndarray = field(repr=False)

    @property
    def columns(self) -> int:
        return int(self.rows.shape[1])

    def single(self) -> list[tuple[np.ndarray, list[int]]]:
        """Each row alone."""
        return [(self.rows[n : n + 1], [int(self.expected[n])]) for n in range(len(self.rows))]


# What is asked of a server in a scenario, by the name of the line in the tables.
Works = Mapping[str, Work]


class Peer(ABC):
    """A server next to which modelwire is put, or modelwire itself."""

    name: ClassVar[str]
    # The file of its requirements, and the package whose version is shown; empty for what runs in the project's own environment.
    environment: ClassVar[str] = ""
    package: ClassVar[str] = ""
    settings: ClassVar[str] = ""
    # What the commands of those of its processes have in them that never predict.
    beside: ClassVar[str] = ""

    @abstractmethod
    def command(self, place: Place) -> Sequence[str]:
        """Starts the server with the sample model. May prepare files in the folder first."""

    def variables(self, place: Place) -> Mapping[str, str]:
        return {}

    @property
    def key(self) -> str:
        """What it is called on the command line."""
        return re.sub(r"\W+", "-", self.name.lower())

    def calls(self, place: Place, question: Question) -> Works:
        """The rows one by one, a call for each."""
        return {}

    def streams(self, place: Place, question: Question) -> Works:
        """The rows one by one, as messages on streams that stay open."""
        return {}

    # The forms in which the server takes a large frame.
    forms: ClassVar[Sequence[str]] = ()

    def frame(self, place: Place, question: Question, form: str) -> Work:
        """All rows at once."""
        raise NotImplementedError

    def version(self) -> str:
        return version_in(self.environment, self.package) if self.environment else ""


@dataclass(frozen=True)
class Running:
    """A server that answers."""

    place: Place
    processes: Processes
    works: Works


@contextmanager
def started(peer: Peer, columns: int, works: Callable[[Place], Works]) -> Iterator[Running]:
    """The server, once it has answered all that it will be asked for, and rightly. Raises NotRunningError, NotInstalledError,
    WrongAnswerError."""
    # A short path: sockets of some servers are below it, whose names may have 107 bytes.
    with tempfile.TemporaryDirectory(prefix="bench-", ignore_cleanup_errors=True) as folder:
        place = Place(python_of(peer.environment), Path(folder), columns)
        command = peer.command(place)
        with running(command, place.folder / "log", peer.variables(place), place.folder, peer.beside) as processes:
            asked = _until(lambda: works(place), processes)
            for work in asked.values():
                _until(lambda work=work: ask(work), processes)  # type: ignore[misc]
            yield Running(place, processes, asked)


def _until(act: Callable[[], Answer], processes: Processes) -> Answer:
    """What comes of the act, once the server takes part in it."""
    end = time.monotonic() + START_SECONDS
    while True:
        processes.require_alive()
        try:
            return act()
        except WrongAnswerError:
            raise
        except (OSError, urllib.error.URLError, grpc.RpcError) as error:
            if time.monotonic() > end:
                raise NotRunningError(f"no answer within {START_SECONDS} s: {_told(error)}") from error
        time.sleep(0.2)


def _told(error: Exception) -> str:
    if isinstance(error, grpc.Call):
        return f"{error.code().name}: {error.details()}"
    return str(error).splitlines()[0]
