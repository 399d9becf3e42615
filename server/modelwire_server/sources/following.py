"""All that follows other registries, in the process of a server that does what goes on by itself."""

import asyncio
from collections.abc import Sequence
from pathlib import Path

from ..database.engine import Database
from ..importing.imports import Imports
from ..registry.catalog import ModelCatalog
from ..registry.reloading import Reloading
from .follower import Follower
from .mlflow import MLflowServers
from .policy import FollowedModel
from .store import Claim


class FollowedModels:
    """Keeps names in step with models elsewhere."""

    def __init__(
        self,
        rules: Sequence[FollowedModel],
        servers: MLflowServers,
        *,
        database: Database,
        imports: Imports,
        catalog: ModelCatalog,
        reloading: Reloading,
        folder: Path,
    ) -> None:
        self._followers = [
            Follower(
                one,
                source=servers.source(one.server),
                imports=imports,
                catalog=catalog,
                reloading=reloading,
                claim=Claim(database, f"source-{one.name}@{one.alias}"),
                folder=folder,
            )
            for one in rules
        ]

    def start(self) -> None:
        """Begins to look."""
        for follower in self._followers:
            follower.start()

    async def close(self) -> None:
        """Ends all that is under way."""
        await asyncio.gather(*(follower.close() for follower in self._followers))
