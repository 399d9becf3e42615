"""Mutations that a retry does not repeat."""

import hashlib
import json
from collections.abc import Callable
from typing import Any

from . import idempotency
from .engine import Transaction


def once(tx: Transaction, scope: str, request_id: str, document: object, act: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The answer of `act`, or the answer that the same request got before. Raises RequestIdReused."""
    if not request_id:
        return act()
    fingerprint = hashlib.sha256(json.dumps(document, sort_keys=True, default=str).encode()).hexdigest()
    known = idempotency.recall(tx, scope, request_id, fingerprint)
    if known is not None:
        return known
    answer = act()
    idempotency.remember(tx, scope, request_id, fingerprint, answer)
    return answer
