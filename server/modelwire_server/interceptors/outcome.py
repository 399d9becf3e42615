"""How a call ended, as metrics and logs tell it."""

from typing import cast

import grpc

from .around import Context, time_left

OK = grpc.StatusCode.OK.name


def code_of(context: Context, error: BaseException | None) -> str:
    """The name of the status code. A call without a status that was interrupted was left by its caller, or ran out of time."""
    code = cast("grpc.StatusCode | int | None", context.code())
    if error is None and not code:
        return OK
    number = code.value[0] if isinstance(code, grpc.StatusCode) else code or 0
    if number or error is None:
        return next(known.name for known in grpc.StatusCode if known.value[0] == number)
    left = time_left(context)
    return grpc.StatusCode.DEADLINE_EXCEEDED.name if left is not None and left <= 0 else grpc.StatusCode.CANCELLED.name
