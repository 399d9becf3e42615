# Generated from ../_async by scripts/generate_client.py. Do not edit.

"""Configs: named, validated parameters for runners."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from modelwire._sync.artifacts import Artifact
from modelwire._sync.connection import Connection, new_request_id
from modelwire.records import ConfigRecord, artifact_fields, config_fields
from modelwire.v1 import config_pb2, config_service_pb2
from modelwire.values import from_struct, to_struct

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


@dataclass(frozen=True, kw_only=True)
class Config(ConfigRecord):
    """Named, validated parameters for a runner."""

    _connection: Connection = field(repr=False, compare=False)

    def update(self, *, name: str | None = None, data: Mapping[str, Any] | None = None, tags: Sequence[str] = ()) -> Config:
        """Replaces what is given; answers with the config as it is now."""
        configs = Configs(self._connection)
        return configs.update(self.id, self.name if name is None else name, self.data if data is None else data, tags=tags)

    def delete(self) -> None:
        """Deletes this config together with the models and predictions that are linked to it. There is no undo."""
        Configs(self._connection).delete(self.id)

    def artifacts(self) -> tuple[Artifact, ...]:
        """The root artifacts that are linked to this config: its trained models."""
        return Configs(self._connection).artifacts(self.id)


class Configs:
    """`client.configs`: the configs of the server."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @property
    def _stub(self) -> Any:
        return self._connection.stubs.configs

    def bind(self, config: config_pb2.Config) -> Config:
        """The config of a message."""
        return Config(**config_fields(config), _connection=self._connection)

    def create(
        self,
        name: str,
        data: Mapping[str, Any] | None = None,
        *,
        runner: str = "",
        tags: Sequence[str] = (),
        id: str = "",
    ) -> Config:
        """Stores a config; the answer has all defaults filled in. `data` may also be a pydantic model.

        Raises InvalidArgument whose `violations` name each value that does not fit; NotFound for an unknown runner; AlreadyExists.
        """
        request = config_service_pb2.CreateConfigRequest(id=id, name=name, tags=tags, runner_id=runner, request_id=new_request_id())
        if data is not None:
            request.data.CopyFrom(to_struct(data, "data"))
        return self.bind((self._connection.call(self._stub.CreateConfig, request)).config)

    def get(self, config_id: str) -> Config:
        """One config. Raises NotFound."""
        request = config_service_pb2.GetConfigRequest(config_id=config_id)
        return self.bind((self._connection.call(self._stub.GetConfig, request)).config)

    def list(self, *, runner: str = "", tags: Sequence[str] = (), name: str = "", limit: int | None = None) -> Iterator[Config]:
        """Yields the configs that fit, oldest first, at most `limit`."""
        request = config_service_pb2.ListConfigsRequest(runner_id=runner, tags=tags, name=name)
        for config in self._connection.pages(self._stub.ListConfigs, request, "configs", limit):
            yield self.bind(config)

    def update(self, config_id: str, name: str, data: Mapping[str, Any], *, tags: Sequence[str] = ()) -> Config:
        """Replaces name and data, and the tags if there are any. Raises as `create` and `get` do."""
        request = config_service_pb2.UpdateConfigRequest(
            config_id=config_id, name=name, data=to_struct(data, "data"), tags=tags, request_id=new_request_id()
        )
        return self.bind((self._connection.call(self._stub.UpdateConfig, request)).config)

    def delete(self, config_id: str) -> None:
        """Deletes a config together with the artifact trees that are linked to it. There is no undo. Raises NotFound."""
        request = config_service_pb2.DeleteConfigRequest(config_id=config_id, request_id=new_request_id())
        self._connection.call(self._stub.DeleteConfig, request)

    def count(self) -> int:
        """How many configs there are."""
        answer = self._connection.call(self._stub.GetConfigStats, config_service_pb2.GetConfigStatsRequest())
        return int(answer.total)

    def schema(self, runner: str = "") -> dict[str, Any]:
        """The JSON schema that config data of a runner must fit. Raises NotFound."""
        request = config_service_pb2.GetConfigSchemaRequest(runner_id=runner)
        return from_struct((self._connection.call(self._stub.GetConfigSchema, request)).schema)

    def artifacts(self, config_id: str) -> tuple[Artifact, ...]:
        """The root artifacts that are linked to a config: its trained models. An unknown config has none."""
        request = config_service_pb2.ListConfigArtifactsRequest(config_id=config_id)
        answer = self._connection.call(self._stub.ListConfigArtifacts, request)
        return tuple(Artifact(**artifact_fields(made), _connection=self._connection) for made in answer.artifacts)

    def link(self, config_id: str, artifact_id: str) -> None:
        """Links a root artifact to a config; training does so by itself. Raises NotFound, FailedPrecondition, AlreadyExists."""
        request = config_service_pb2.LinkArtifactRequest(config_id=config_id, artifact_id=artifact_id)
        self._connection.call(self._stub.LinkArtifact, request)

    def unlink(self, config_id: str, artifact_id: str) -> None:
        """Removes such a link; the artifact stays. Raises NotFound."""
        request = config_service_pb2.UnlinkArtifactRequest(config_id=config_id, artifact_id=artifact_id)
        self._connection.call(self._stub.UnlinkArtifact, request)
