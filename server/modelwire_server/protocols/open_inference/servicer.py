"""GRPCInferenceService, as clients of other servers call it."""

from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import Any, cast

from modelwire import __version__

from ...errors import FieldViolation, InvalidField
from ...interceptors.around import Context
from .descriptions import EXTENSIONS, NAME, config_of, metadata_of
from .inference import Inference
from .repository import Repository
from .statistics import Statistics
from .stream import in_order
from .v2 import open_inference_pb2 as pb
from .v2.open_inference_pb2_grpc import GRPCInferenceServiceServicer


class OpenInferenceServicer(GRPCInferenceServiceServicer):
    def __init__(
        self, *, repository: Repository, inference: Inference, statistics: Statistics, is_serving: Callable[[], bool]
    ) -> None:
        self._repository = repository
        self._inference = inference
        self._statistics = statistics
        self._is_serving = is_serving

    async def ServerLive(self, request: pb.ServerLiveRequest, context: Context) -> pb.ServerLiveResponse:
        return pb.ServerLiveResponse(live=True)

    async def ServerReady(self, request: pb.ServerReadyRequest, context: Context) -> pb.ServerReadyResponse:
        return pb.ServerReadyResponse(ready=self._is_serving())

    async def ServerMetadata(self, request: pb.ServerMetadataRequest, context: Context) -> pb.ServerMetadataResponse:
        return pb.ServerMetadataResponse(name=NAME, version=__version__, extensions=EXTENSIONS)

    async def ModelReady(self, request: pb.ModelReadyRequest, context: Context) -> pb.ModelReadyResponse:
        return pb.ModelReadyResponse(ready=await self._repository.is_ready(request.name, request.version))

    async def ModelMetadata(self, request: pb.ModelMetadataRequest, context: Context) -> pb.ModelMetadataResponse:
        named = await self._repository.named(request.name, request.version)
        return metadata_of(await self._repository.artifact(named), named)

    async def ModelConfig(self, request: pb.ModelConfigRequest, context: Context) -> pb.ModelConfigResponse:
        named = await self._repository.named(request.name, request.version)
        return pb.ModelConfigResponse(config=config_of(await self._repository.artifact(named), named))

    async def ModelStatistics(self, request: pb.ModelStatisticsRequest, context: Context) -> pb.ModelStatisticsResponse:
        if not request.name:
            return self._statistics.message()
        named = await self._repository.named(request.name, request.version)
        return self._statistics.message((await self._repository.artifact(named)).id)

    async def RepositoryIndex(self, request: pb.RepositoryIndexRequest, context: Context) -> pb.RepositoryIndexResponse:
        entries = await self._repository.index(only_ready=request.ready)
        index = pb.RepositoryIndexResponse.ModelIndex
        models = [index(name=entry.name, version=entry.version, state=entry.state, reason=entry.reason) for entry in entries]
        return pb.RepositoryIndexResponse(models=models)

    async def RepositoryModelLoad(self, request: pb.RepositoryModelLoadRequest, context: Context) -> pb.RepositoryModelLoadResponse:
        if request.parameters:
            text = "models are what their training made: neither a configuration nor files can be given"
            raise InvalidField.of(FieldViolation("parameters", text))
        await self._repository.loaded(await self._repository.named(request.model_name, ""))
        return pb.RepositoryModelLoadResponse()

    async def RepositoryModelUnload(
        self, request: pb.RepositoryModelUnloadRequest, context: Context
    ) -> pb.RepositoryModelUnloadResponse:
        await self._repository.unload(request.model_name)
        return pb.RepositoryModelUnloadResponse()

    async def ModelInfer(self, request: pb.ModelInferRequest, context: Context) -> pb.ModelInferResponse:
        answered = await self._inference.answer(request, cast("Any", context).add_done_callback)
        context.set_trailing_metadata((*(context.trailing_metadata() or ()), *answered.trailer))
        return answered.response

    async def ModelStreamInfer(
        self, request_iterator: AsyncIterator[pb.ModelInferRequest], context: Context
    ) -> AsyncIterator[pb.ModelStreamInferResponse]:
        async with aclosing(in_order(request_iterator, self._inference.answer_in_stream)) as answers:
            async for answer in answers:
                yield answer
