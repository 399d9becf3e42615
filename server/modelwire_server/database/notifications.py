"""Wake-ups between servers on one database, and between the processes of a server. Nothing depends on their arrival but how soon
something happens.

A notification is sent when the transaction that it tells of is committed, so that whoever is woken finds what is new: on PostgreSQL by
NOTIFY, on SQLite, whose database belongs to one server, to the processes of that server.
"""

import asyncio
import contextlib
from collections.abc import Callable
from enum import StrEnum
from typing import TYPE_CHECKING

import sqlalchemy as sa
import structlog

from .engine import Database, Transaction

if TYPE_CHECKING:
    import psycopg

log = structlog.get_logger(__name__)

_CHANNEL = "modelwire"
_NOTIFY = sa.select(sa.func.pg_notify(_CHANNEL, sa.bindparam("payload")))
_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.2, 10.0


class Topic(StrEnum):
    """What a notification is about. All but WORK come with an id, or with what is said."""

    JOB = "job"  # a job has news
    WORK = "work"  # there may be jobs to take
    STOP = "stop"  # a running job is to stop
    GONE = "gone"  # an artifact is deleted
    MODELS = "models"  # something happened in the registry: with the number of the event
    MODELS_SEEN = "models-seen"  # a server has taken notice of that
    RELOADS = "reloads"  # models are to be looked for anew: with the number of the request


def notify(tx: Transaction, topic: Topic, id: str = "") -> None:
    """Tells the others, once and if the transaction is committed."""
    options = tx.get_execution_options()
    if tx.dialect.name == "postgresql":
        tx.execute(_NOTIFY, {"payload": f"{options['sender']} {topic} {id}"})
    elif neighbours := options.get("neighbours"):
        neighbours.tell(f"{topic} {id}")


class Listener:
    """Passes on what others notify. `on_gap` is called when something may have been missed."""

    def __init__(self, database: Database, on_notice: Callable[[Topic, str], None], on_gap: Callable[[], None]) -> None:
        self._database = database
        self._on_notice = on_notice
        self._on_gap = on_gap
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        if self._database.is_shared:
            self._task = asyncio.create_task(self._listen_for_ever(), name="notifications")

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def hear(self, notice: str) -> None:
        """Passes a notice on: a topic, and what it is about."""
        topic, about = [*notice.split(" "), ""][:2]
        # Servers of a newer version may have more to tell.
        if topic in set(Topic):
            self._on_notice(Topic(topic), about)

    def missed(self) -> None:
        """For whoever calls hear(): some notices did not come."""
        self._on_gap()

    async def _listen_for_ever(self) -> None:
        import psycopg

        pause = _FIRST_PAUSE_SECONDS
        while True:
            with contextlib.suppress(psycopg.Error):
                async with await self._connect() as connection:
                    await connection.execute(f"LISTEN {_CHANNEL}")
                    pause = _FIRST_PAUSE_SECONDS
                    self._on_gap()
                    await self._pass_on(connection)
            log.warning("the connection for notifications is lost", again_in=pause)
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    async def _connect(self) -> "psycopg.AsyncConnection[tuple[object, ...]]":
        import psycopg

        url = self._database.engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
        # Without keepalives a connection that a firewall has forgotten would look like silence.
        return await psycopg.AsyncConnection.connect(
            url, autocommit=True, keepalives_idle=30, keepalives_interval=10, keepalives_count=3
        )

    async def _pass_on(self, connection: "psycopg.AsyncConnection[tuple[object, ...]]") -> None:
        own = self._database.engine.get_execution_options()["sender"]
        async for notice in connection.notifies():
            sender, _, told = notice.payload.partition(" ")
            if sender != own:
                self.hear(told)
