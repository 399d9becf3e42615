"""One way to log: structlog's events and the lines of other libraries come out alike, with the ids of request and job."""

import logging
import logging.config
import sys
from typing import Literal

import structlog
from structlog.typing import Processor

# Without local variables: they may hold users' data and the password of the database.
_tracebacks = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)


def configure_logs(level: str = "info", format: Literal["console", "json"] = "console", **always: str) -> None:
    """Sets up logging for the whole process, to standard error. Whatever is bound to structlog's contextvars is in every line, and so is
    what is given here."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        lambda logger, method, event: {**always, **event},
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder()],
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_renderers(format)],
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "grpc", "sqlalchemy", "alembic"):
        library = logging.getLogger(name)
        library.handlers.clear()
        library.propagate = True
    # Both tell every statement and every migration step at info.
    for name in ("sqlalchemy", "alembic", "uvicorn"):
        logging.getLogger(name).setLevel(max(root.level, logging.WARNING))
    logging.captureWarnings(capture=True)


def _renderers(format: str) -> list[Processor]:
    if format == "json":
        return [structlog.processors.ExceptionRenderer(_tracebacks), structlog.processors.JSONRenderer(default=str)]
    return [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback)]
