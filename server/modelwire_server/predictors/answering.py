"""What a predictor answers, and what callers are told when it does not. To be called in threads of the predictor's own."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from modelwire_runners import InvalidPayload as PayloadError
from modelwire_runners import InvalidResult, Predictor, Scores

from ..errors import FieldViolation, InvalidPayload, InvalidPrediction, MemoryLimit, RunnerFailed


def predicted(predictor: Predictor, payload: Any, field: str) -> Any:
    """The prediction as JSON. `field` is what callers call the payload. Raises InvalidPayload, RunnerFailed, InvalidPrediction,
    MemoryLimit."""
    with _told(predictor, field):
        return predictor.predict(payload)


def scored(predictor: Predictor, payload: Any, field: str) -> Scores:
    """The scores. Raises what predicted() does."""
    with _told(predictor, field):
        return predictor.score(payload)


@contextmanager
def _told(predictor: Predictor, field: str) -> Iterator[None]:
    try:
        yield
    except PayloadError as error:
        raise _invalid(predictor, error, field) from None
    except InvalidResult as error:
        raise InvalidPrediction(f"the predictor `{predictor.name}`: {error}", rule=error.rule) from error
    except MemoryError as error:
        raise MemoryLimit("the prediction ran out of memory", limit="process") from error
    # A model that wants to end its process must not end the server.
    except (Exception, SystemExit) as error:
        kind = type(error).__name__
        raise RunnerFailed(f"the predictor `{predictor.name}` raised {kind}: {error}", type=kind, message=error) from error


def _invalid(predictor: Predictor, error: PayloadError, field: str) -> InvalidPayload:
    violations = [FieldViolation(_place(field, one.path), one.message, one.rule) for one in error.violations]
    first, more = violations[0], len(violations) - 1
    message = f"{first.field}: {first.description}" + (f" (and {more} more)" if more else "")
    return InvalidPayload(message, violations=violations, predictor=predictor.name, count=len(violations))


def _place(field: str, path: str) -> str:
    """`data.items[0].x` of `items[0].x`."""
    return f"{field}{path}" if not path or path.startswith("[") else f"{field}.{path}"
