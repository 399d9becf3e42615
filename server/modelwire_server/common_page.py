"""The page of metrics that every process of a server shows: what all of them have measured, those that have ended included."""

import asyncio
import socket
from collections.abc import Sequence

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily

from .exposition import Families, lasting, merged, packed, text_of, unpacked
from .metrics import ServerMetrics
from .supervision.member import Crew, Member

_ANSWER_SECONDS = 5.0
_TRIES = 3


class CommonPage:
    """The page of a process that measures `metrics`."""

    def __init__(self, member: Member, metrics: ServerMetrics) -> None:
        self._member = member
        self._metrics = metrics

    async def text(self) -> bytes:
        """What there is to show."""
        others = await self._others()
        return text_of(merged([await self._own(), *others, crew_families(self._member.crew)]))

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Gives its part to another process."""
        writer.write(packed(await self._own()))
        await writer.drain()

    async def keep(self) -> None:
        """Has what was counted here kept when this process ends."""
        await self._own()

    async def _own(self) -> Families:
        families = await self._metrics.families()
        # What was shown once must not be taken back: it would look as if the server had begun anew.
        self._member.keep("metrics", packed(lasting(families)))
        return families

    async def _others(self) -> Sequence[Families]:
        found: Sequence[Families] = ()
        for _ in range(_TRIES):
            links = await self._member.connect("metrics")
            pages = await asyncio.gather(*map(_read, links))
            found = [page for page in pages if page]
            # One that has ended meanwhile is among those that have ended when they are asked again.
            if len(found) == len(pages):
                break
        return found


async def _read(link: socket.socket) -> Families:
    """What a process says, nothing if it ends or is stuck."""
    reader, writer = await asyncio.open_unix_connection(sock=link)
    try:
        async with asyncio.timeout(_ANSWER_SECONDS):
            content = await reader.read()
        return unpacked(content) if content else []
    except (TimeoutError, OSError):
        return []
    finally:
        writer.close()


def crew_families(crew: Crew) -> Families:
    """What is known of the processes themselves."""
    return [
        GaugeMetricFamily("modelwire_workers", "Processes that serve callers.", value=crew.serving),
        CounterMetricFamily("modelwire_worker_restarts", "Processes that ended and were replaced.", value=crew.restarts),
    ]
