"""Counts and times every call."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from ..metrics import ServerMetrics
from .around import Around, Call
from .outcome import code_of


def count_calls(metrics: ServerMetrics) -> Around:
    @asynccontextmanager
    async def around(call: Call) -> AsyncIterator[None]:
        labels = (call.service, call.method)
        metrics.calls_started.labels(*labels).inc()
        began, failure = time.perf_counter(), None
        with metrics.calls_in_flight.labels(*labels).track_inprogress():
            try:
                yield
            except BaseException as error:
                failure = error
                raise
            finally:
                metrics.calls_handled.labels(*labels, code_of(call.context, failure)).inc()
                metrics.call_seconds.labels(*labels).observe(time.perf_counter() - began)

    return around
