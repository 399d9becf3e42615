"""ConfigService: stores parameters for runners."""

from typing import Any

from google.protobuf.struct_pb2 import Struct

from modelwire.v1 import config_service_pb2 as pb
from modelwire.v1.config_service_pb2_grpc import ConfigServiceServicer

from ..configs.catalog import ConfigCatalog
from ..interceptors.around import Context
from ..runners import RunnerRegistry
from .checks import Findings
from .messages import artifact_message, config_message
from .values import dict_from_json, dict_of, struct_of


class ConfigServicer(ConfigServiceServicer):
    def __init__(self, configs: ConfigCatalog, runners: RunnerRegistry) -> None:
        self._configs = configs
        self._runners = runners

    async def CreateConfig(self, request: pb.CreateConfigRequest, context: Context) -> pb.CreateConfigResponse:
        findings = Findings()
        config_id, request_id = findings.optional_id("id", request.id), findings.request_id(request.request_id)
        findings.settle()
        config = await self._configs.create(
            name=request.name,
            data=data_of(request),
            runner_id=request.runner_id,
            id=config_id,
            tags=tuple(request.tags),
            request_id=request_id,
        )
        return pb.CreateConfigResponse(config=config_message(config))

    async def GetConfig(self, request: pb.GetConfigRequest, context: Context) -> pb.GetConfigResponse:
        return pb.GetConfigResponse(config=config_message(await self._configs.get(config_id_of(request))))

    async def ListConfigs(self, request: pb.ListConfigsRequest, context: Context) -> pb.ListConfigsResponse:
        findings = Findings()
        page = findings.page(request)
        findings.settle()
        found = await self._configs.list(page, runner_id=request.runner_id, tags=tuple(request.tags), name=request.name)
        return pb.ListConfigsResponse(
            configs=[config_message(config) for config in found.items],
            next_page_token=found.next_page_token,
            total_size=found.total_size,
        )

    async def UpdateConfig(self, request: pb.UpdateConfigRequest, context: Context) -> pb.UpdateConfigResponse:
        findings = Findings()
        config_id, request_id = findings.id("config_id", request.config_id), findings.request_id(request.request_id)
        if not request.data_json:
            findings.present("data", request)
        findings.settle()
        data, tags = data_of(request), tuple(request.tags)
        config = await self._configs.update(config_id, name=request.name, data=data, tags=tags, request_id=request_id)
        return pb.UpdateConfigResponse(config=config_message(config))

    async def DeleteConfig(self, request: pb.DeleteConfigRequest, context: Context) -> pb.DeleteConfigResponse:
        findings = Findings()
        config_id, request_id = findings.id("config_id", request.config_id), findings.request_id(request.request_id)
        findings.settle()
        await self._configs.delete(config_id, request_id=request_id)
        return pb.DeleteConfigResponse()

    async def GetConfigSchema(self, request: pb.GetConfigSchemaRequest, context: Context) -> pb.GetConfigSchemaResponse:
        return pb.GetConfigSchemaResponse(schema=schema_of(self._runners, request.runner_id))

    async def GetConfigStats(self, request: pb.GetConfigStatsRequest, context: Context) -> pb.GetConfigStatsResponse:
        return pb.GetConfigStatsResponse(total=await self._configs.count())

    async def ListConfigArtifacts(self, request: pb.ListConfigArtifactsRequest, context: Context) -> pb.ListConfigArtifactsResponse:
        found = await self._configs.artifacts(config_id_of(request))
        return pb.ListConfigArtifactsResponse(artifacts=[artifact_message(artifact) for artifact in found])

    async def LinkArtifact(self, request: pb.LinkArtifactRequest, context: Context) -> pb.LinkArtifactResponse:
        await self._configs.link(*link_of(request))
        return pb.LinkArtifactResponse()

    async def UnlinkArtifact(self, request: pb.UnlinkArtifactRequest, context: Context) -> pb.UnlinkArtifactResponse:
        await self._configs.unlink(*link_of(request))
        return pb.UnlinkArtifactResponse()


def data_of(request: pb.CreateConfigRequest | pb.UpdateConfigRequest) -> dict[str, Any]:
    """The parameters, in whichever form they came. Raises InvalidField."""
    return dict_from_json(request.data_json, "data_json") if request.data_json else dict_of(request.data, "data")


def config_id_of(request: pb.GetConfigRequest | pb.ListConfigArtifactsRequest) -> str:
    findings = Findings()
    config_id = findings.id("config_id", request.config_id)
    findings.settle()
    return config_id


def link_of(request: pb.LinkArtifactRequest | pb.UnlinkArtifactRequest) -> tuple[str, str]:
    findings = Findings()
    link = findings.id("config_id", request.config_id), findings.id("artifact_id", request.artifact_id)
    findings.settle()
    return link


def schema_of(runners: RunnerRegistry, runner_id: str) -> Struct:
    """The JSON schema of a runner's configs. Raises RunnerNotFound."""
    return struct_of(runners.get(runner_id).config_schema.model_json_schema())
