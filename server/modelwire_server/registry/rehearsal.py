"""Has a version predict, to find out whether it can."""

import asyncio
from contextvars import Context

import pyarrow as pa

from ..database.engine import Database
from ..errors import ModelwireError, Overloaded, ShuttingDown
from ..inference.models import LoadedModel
from ..inference.warming import example_of
from ..prediction import Prediction
from . import store
from .gate import Gate, GoldenRows
from .gatekeeper import Gatekeeper
from .model import Resolved
from .trial import Trial
from .trial import findings as of_trial

# Golden rows may be many; so many tell as much.
_MOST_ROWS = 1_000


class Rehearsal:
    """Loads versions and has them predict the golden rows of their model, or else a row that is made up.

    A made-up row may be none that the model can predict, so that an error says something only of a model that could predict it before.
    """

    def __init__(self, *, database: Database, gatekeeper: Gatekeeper, prediction: Prediction) -> None:
        self._database = database
        self._gatekeeper = gatekeeper
        self._prediction = prediction
        self._could: set[str] = set()

    def begin(self, version: Resolved) -> "asyncio.Future[str]":
        """What is wrong with a version; empty if nothing is. It goes on however long whoever asked for it waits."""
        return asyncio.create_task(self._trouble(version), name=f"rehearsal of {version.version}", context=Context())

    async def _trouble(self, version: Resolved) -> str:
        try:
            return await self._tried(version)
        except (Overloaded, ShuttingDown):
            # It predicts, for others.
            return ""
        except ModelwireError as error:
            return error.message
        except Exception as error:
            return f"{type(error).__name__}: {error}"

    async def _tried(self, version: Resolved) -> str:
        model = await self._prediction.load(version.artifact_id)
        if rows := await self._golden(version):
            predicted = await self._prediction.try_out(model, rows)
            (finding, *_) = of_trial(GoldenRows(), Trial(predicted.table, predicted.compute_seconds), None)
            return "" if finding.passed else finding.message
        await self._prediction.verify(model)
        if model.is_workspace:
            # A process for a made-up row would be dear.
            return ""
        return await self._made_up(model)

    async def _golden(self, version: Resolved) -> pa.Table | None:
        name = version.version.partition("/")[0]
        model = await self._database.read(lambda tx: store.get(tx, name))
        dataset = Gate.from_json(model.gate).golden.dataset_id if model else ""
        return (await self._gatekeeper.rows(dataset)).slice(0, _MOST_ROWS) if dataset else None

    async def _made_up(self, model: LoadedModel) -> str:
        row = example_of(model.signature) if model.signature else None
        if row is None:
            return ""
        try:
            await self._prediction.try_out(model, row)
        except (Overloaded, ShuttingDown):
            raise
        except ModelwireError as error:
            return error.message if model.artifact_id in self._could else ""
        self._could.add(model.artifact_id)
        return ""
