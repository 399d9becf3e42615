"""Holds a version against the gate of its model before an alias is pointed to it."""

import asyncio

import pyarrow as pa

from ..artifacts.blobs.interface import BlobStore
from ..artifacts.model import ARROW_STREAM
from ..artifacts.tree import ArtifactTree
from ..errors import FieldViolation, InvalidField, ModelwireError
from ..frames import MIB, FrameLimits, read_frame
from ..prediction import Prediction, PredictOrder
from .gate import Finding, Gate, GoldenRows, findings
from .model import ModelVersion
from .trial import TRIES, Trial
from .trial import findings as of_trial

# Golden rows are a sample, not a test set: each promotion predicts them several times.
MOST_GOLDEN_BYTES = 16 * MIB


class Gatekeeper:
    """Loads versions and tries them out."""

    def __init__(self, *, tree: ArtifactTree, blobs: BlobStore, prediction: Prediction) -> None:
        self._tree = tree
        self._blobs = blobs
        self._prediction = prediction
        self._limits = FrameLimits().in_memory(MOST_GOLDEN_BYTES)

    async def check(self, gate: Gate, new: ModelVersion, old: ModelVersion | None) -> list[Finding]:
        """What the gate says of a version; `old` is the one that the alias points to now. Raises what loading the version raises."""
        await self._prediction.load(new.artifact_id)
        found = list(findings(gate, new, old))
        if gate.golden.dataset_id:
            found += await self._tried(gate.golden, new, old)
        return found

    async def rows(self, dataset_id: str) -> pa.Table:
        """The golden rows of a dataset. Raises ArtifactNotFound, NoContent, InvalidField, InvalidFrame, FrameTooLarge."""
        artifact, blob = await self._tree.content(dataset_id)
        if artifact.content_type != ARROW_STREAM:
            message = f"artifact {dataset_id} holds {artifact.content_type}, not a frame"
            raise InvalidField.of(FieldViolation("gate.golden.dataset_id", message))
        path = await self._blobs.local_path(blob.digest)

        def read() -> pa.Table:
            with pa.OSFile(str(path)) as file:
                return read_frame(file, self._limits, "gate.golden.dataset_id")

        return await asyncio.to_thread(read)

    async def _tried(self, rules: GoldenRows, new: ModelVersion, old: ModelVersion | None) -> list[Finding]:
        try:
            rows = await self.rows(rules.dataset_id)
            trial = await self._trial(new, rows)
        except ModelwireError as error:
            return [Finding("golden", False, f"the golden rows cannot be predicted: {error.message}")]
        compares = rules.max_difference is not None or rules.max_slowdown is not None
        before = await self._trial_of_old(old, rows) if old is not None and compares else None
        return list(of_trial(rules, trial, before))

    async def _trial_of_old(self, old: ModelVersion, rows: pa.Table) -> Trial | None:
        """None if the version before cannot predict the rows: it has nothing to hold against a new one then."""
        try:
            return await self._trial(old, rows)
        except ModelwireError:
            return None

    async def _trial(self, version: ModelVersion, rows: pa.Table) -> Trial:
        tries = [await self._prediction.predict(PredictOrder(model=version.artifact_id, future=rows)) for _ in range(TRIES)]
        return Trial(tries[0].table, min(one.compute_seconds for one in tries))
