"""Counts and times every call."""

import time
from typing import Any

from ..metrics import ServerMetrics
from .around import Act, Around, Context, Method
from .outcome import OK, code_of


def count_calls(metrics: ServerMetrics) -> Around:
    def around(method: Method, act: Act) -> Act:
        labels = (method.service, method.name)
        started, in_flight = metrics.calls_started.labels(*labels), metrics.calls_in_flight.labels(*labels)
        seconds, went_well = metrics.call_seconds.labels(*labels), metrics.calls_handled.labels(*labels, OK)

        async def counted(request: Any, context: Context) -> Any:
            started.value += 1
            in_flight.value += 1
            began, failure = time.perf_counter(), None
            try:
                return await act(request, context)
            except BaseException as error:
                failure = error
                raise
            finally:
                in_flight.value -= 1
                code = code_of(context, failure)
                (went_well if code == OK else metrics.calls_handled.labels(*labels, code)).value += 1
                seconds.observe(time.perf_counter() - began)

        return counted

    return around
