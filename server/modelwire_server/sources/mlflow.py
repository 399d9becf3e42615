"""An MLflow registry as a place that models come from."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..errors import ContentTooLarge, FieldViolation, InvalidField, ModelNotFound, ModelwireError, SourceUnavailable
from ..importing.model import Fetched
from .address import NOT_INSTALLED, SCHEME, Address, is_installed
from .conversation import Conversation
from .mlflow_program import NOT_FOUND, REFUSED, TOO_LARGE, Failure

# The first answer includes the start of MLflow's client, on a busy machine.
RESOLVE_SECONDS, FETCH_SECONDS = 60.0, 3600.0


@dataclass(frozen=True, slots=True)
class Found:
    """The version that an address means now: its own address, and when it came into being."""

    source: str
    created_at: datetime


class MLflowSource:
    """The models of one MLflow server, by addresses such as `mlflow:wine@champion`."""

    scheme = SCHEME

    def __init__(self, server: str, *, max_bytes: int) -> None:
        self.server = server
        self._max_bytes = max_bytes
        self._conversation = Conversation(server)

    async def resolve(self, uri: str) -> Found:
        """Raises InvalidField, ModelNotFound, SourceUnavailable."""
        return await self._resolve(uri, _address(uri))

    async def fetch(self, uri: str, into: Path) -> Fetched:
        """Downloads the model's file; see importing.model.Source."""
        address = _address(uri)
        found = await self._resolve(uri, address)
        version = Address.parse(found.source)
        told = await self._ask("fetch", uri, version, FETCH_SECONDS, into=str(into), max_bytes=self._max_bytes)
        return Fetched(
            path=Path(told["path"]),
            source=found.source,
            format=told["format"],
            signature=told["signature"],
            features=tuple(told["features"]),
            metrics=told["metrics"],
            framework=told["framework"],
            trained_at=_time(told["trained_at"]).isoformat(),
            description=told["description"],
        )

    async def close(self) -> None:
        await self._conversation.close()

    async def _resolve(self, uri: str, address: Address) -> Found:
        found = await self._ask("resolve", uri, address, RESOLVE_SECONDS)
        return Found(str(address.at(found["version"])), _time(found["created"] / 1000))

    async def _ask(self, ask: str, uri: str, address: Address, within: float, **more: Any) -> Mapping[str, Any]:
        if not self.server:
            raise _unavailable(uri, "this server knows no MLflow server; its setting `mlflow_url` says which")
        if not is_installed():
            raise _unavailable(uri, f"this server has no client of MLflow; {NOT_INSTALLED}")
        where = {"name": address.name, "version": address.version, "alias": address.alias, "stage": address.stage}
        try:
            return await self._conversation.ask(ask, within=within, **where, **more)
        except Failure as failure:
            raise self._in_own_words(uri, failure) from failure

    def _in_own_words(self, uri: str, failure: Failure) -> ModelwireError:
        message = str(failure)
        match failure.kind:
            case kind if kind == NOT_FOUND:
                return ModelNotFound(f"MLflow has no {uri}: {message}", model=uri)
            case kind if kind == TOO_LARGE:
                return ContentTooLarge(message, limit=self._max_bytes)
            case kind if kind == REFUSED:
                return InvalidField.of(FieldViolation("uri", f"{uri} cannot be imported: {message}"))
        return _unavailable(uri, f"MLflow does not answer: {message}")


class MLflowServers:
    """All MLflow servers that this process may talk to."""

    def __init__(self, servers: Iterable[str], *, max_bytes: int) -> None:
        self._sources = {server: MLflowSource(server, max_bytes=max_bytes) for server in servers}

    def source(self, server: str) -> MLflowSource:
        """The models of one of them."""
        return self._sources[server]

    async def close(self) -> None:
        for source in self._sources.values():
            await source.close()


def _address(uri: str) -> Address:
    try:
        return Address.parse(uri)
    except ValueError as error:
        raise InvalidField.of(FieldViolation("uri", str(error))) from None


def _unavailable(uri: str, message: str) -> SourceUnavailable:
    return SourceUnavailable(message, source=uri)


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
