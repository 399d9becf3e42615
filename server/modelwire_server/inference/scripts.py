"""Predictions at once by models that are workspaces: each is the work of a process, as that of a job is, but nothing is kept."""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from ..artifacts.blobs.interface import BlobStore
from ..artifacts.model import Blob
from ..clock import new_id
from ..deadline import remaining
from ..errors import ShuttingDown
from ..execution.content import read_frame
from ..execution.interface import Completed, Executor, Failed, JobSpec, StopSignal
from ..jobs.model import JobKind, NewEvent
from .workspaces import fetch_workspace


@dataclass(frozen=True, slots=True)
class StoredWorkspace:
    """A model that is a folder: the list of its files."""

    blob: Blob


class ScriptPredictor:
    """Predicts with workspaces, with at most `slots` processes at once."""

    def __init__(self, *, executor: Executor, blobs: BlobStore, slots: int) -> None:
        self._executor = executor
        self._blobs = blobs
        self._slots = asyncio.Semaphore(slots)

    async def predict(
        self,
        model: StoredWorkspace,
        *,
        runner_id: str,
        config: dict[str, Any],
        historic: pa.Table,
        future: pa.Table,
        geo: dict[str, Any] | None,
        run_info: dict[str, Any],
    ) -> pa.Table:
        """The script's predictions, checked. Raises what a job of the kind fails with, and ShuttingDown."""
        call = new_id()
        async with self._slots, self._folder(call) as folder:
            frames = {"historic": folder / "historic.arrow", "future": folder / "future.arrow"}
            await asyncio.to_thread(_write_frames, {frames["historic"]: historic, frames["future"]: future})
            listed, parts = await fetch_workspace(self._blobs, model.blob, folder)
            spec = JobSpec(
                job_id=call,
                attempt=1,
                kind=JobKind.PREDICT,
                runner_id=runner_id,
                config=config,
                frames=frames,
                geo=_write_geo(geo, folder / "geo.json"),
                run_info=run_info,
                model=listed,
                model_blob=model.blob,
                parts=parts,
                folder=folder,
                timeout=remaining(),
            )
            return await self._run(spec)

    async def _run(self, spec: JobSpec) -> pa.Table:
        match await self._executor.run(spec, _unheard, StopSignal()):
            case Completed(made=made):
                return await asyncio.to_thread(read_frame, made.path)
            case Failed(error=error):
                raise error
            case _:
                raise ShuttingDown("the server is shutting down")

    @asynccontextmanager
    async def _folder(self, name: str) -> AsyncIterator[Path]:
        folder = self._blobs.scratch / f"predict-{name}"
        folder.mkdir()
        try:
            yield folder
        finally:
            await asyncio.shield(asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True))


async def _unheard(events: Sequence[NewEvent]) -> None:
    """There is no log in which a caller could look."""


def _write_frames(frames: dict[Path, pa.Table]) -> None:
    for path, table in frames.items():
        with pa.ipc.new_stream(path, table.schema) as writer:
            writer.write_table(table)


def _write_geo(geo: dict[str, Any] | None, path: Path) -> Path | None:
    if geo is None:
        return None
    path.write_text(json.dumps(geo))
    return path
