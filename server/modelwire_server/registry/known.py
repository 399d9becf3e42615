"""What a training has left that is to be known of its model."""

from collections.abc import Mapping
from dataclasses import replace

from ..artifacts.model import Artifact
from ..database.engine import Database
from ..formats.model import Format
from ..jobs import store as jobs
from ..jobs.model import EventKind
from ..runners import RunnerRegistry
from .model import Facts

_METRICS_READ = 100_000


class KnownOfTraining:
    """Looks up what is known of models."""

    def __init__(self, database: Database, runners: RunnerRegistry) -> None:
        self._database = database
        self._runners = runners

    async def facts(self, artifact: Artifact, said: Facts) -> Facts:
        """What the training knows of a model, and before that what the caller says of it. Raises RunnerNotServed."""
        known, signature = artifact.metadata, artifact.metadata.get("signature", {})
        targets = self._runners.served(artifact.runner_id).target_columns
        return replace(
            said,
            runner_id=artifact.runner_id,
            algorithm=said.algorithm or known.get("model_type", "").rpartition(".")[2],
            features=said.features or tuple(column["name"] for column in signature.get("inputs", ())),
            target=said.target or (targets[0] if len(targets) == 1 else ""),
            metrics={**await self._metrics(artifact), **said.metrics},
            trained_at=said.trained_at or known.get("completed_at", ""),
            signature=signature,
            format=Format.of_content(artifact.content_type) or "",
        )

    async def _metrics(self, artifact: Artifact) -> Mapping[str, float]:
        """The last value of each metric that the training reported."""
        job_id = next((edge.id for edge in artifact.inputs if edge.role == "job"), "")
        events = await self._database.read(lambda tx: jobs.events_after(tx, job_id, 0, _METRICS_READ))
        return {event.data["name"]: float(event.data["value"]) for event in events if event.kind is EventKind.METRIC}
