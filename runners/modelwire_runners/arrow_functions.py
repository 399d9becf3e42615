"""The functions of `pyarrow.compute`, which is imported with the first of them that is used: it takes 9 MB, which a server that predicts
numbers does without."""

from typing import Any


def __getattr__(name: str) -> Any:
    import pyarrow.compute

    return getattr(pyarrow.compute, name)
