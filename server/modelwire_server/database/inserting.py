"""What the two databases say in words of their own."""

import functools
import importlib
from typing import Any

import sqlalchemy as sa


@functools.cache
def insert_new(dialect: str, table: sa.Table, key: str) -> Any:
    """Inserts a row unless it is there, and returns its key if it was not. The words of the other database take 3 MB of memory: only those
    that are needed are imported."""
    insert = importlib.import_module(f"sqlalchemy.dialects.{dialect}").insert
    return insert(table).on_conflict_do_nothing().returning(table.c[key])
