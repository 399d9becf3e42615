"""Answers by request id, so that a retry has no second effect."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa

from ..clock import now
from ..errors import FieldViolation, RequestIdReused
from .engine import Transaction
from .inserting import insert_new
from .tables import idempotency_keys as keys

_BY_REQUEST = sa.select(keys.c.fingerprint, keys.c.answer).where(
    keys.c.scope == sa.bindparam("scope"), keys.c.request_id == sa.bindparam("request_id")
)

_INSERT = sa.insert(keys)


def recall(tx: Transaction, scope: str, request_id: str, fingerprint: str) -> dict[str, Any] | None:
    """The answer to the request, if it was answered before. Raises RequestIdReused if the id belongs to another request."""
    row = tx.execute(_BY_REQUEST, {"scope": scope, "request_id": request_id}).one_or_none()
    if row is None:
        return None
    if row.fingerprint != fingerprint:
        message = f"request id {request_id} was used for another request; choose a new one for each request"
        raise RequestIdReused(message, violations=[FieldViolation("request_id", message)], request_id=request_id)
    answer: dict[str, Any] = row.answer
    return answer


def remember(tx: Transaction, scope: str, request_id: str, fingerprint: str, answer: dict[str, Any]) -> None:
    """Keeps the answer, in the transaction that made it true."""
    tx.execute(_INSERT, _row(scope, request_id, fingerprint, answer))


def recall_or_remember(tx: Transaction, scope: str, request_id: str, fingerprint: str, answer: dict[str, Any]) -> dict[str, Any]:
    """The answer that the request got before, or else this one, which is kept. Raises RequestIdReused."""
    if tx.execute(insert_new(tx.dialect.name, keys, "request_id"), _row(scope, request_id, fingerprint, answer)).all():
        return answer
    known = recall(tx, scope, request_id, fingerprint)
    assert known is not None
    return known


def _row(scope: str, request_id: str, fingerprint: str, answer: dict[str, Any]) -> dict[str, Any]:
    return {"scope": scope, "request_id": request_id, "fingerprint": fingerprint, "answer": answer, "created_at": now()}


def forget_before(tx: Transaction, time: datetime) -> None:
    """Drops answers that nobody will ask for again."""
    tx.execute(sa.delete(keys).where(keys.c.created_at < time))
