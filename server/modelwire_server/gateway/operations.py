"""Which way each method is called: as its shape says, and some as REST clients want it."""

import os
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.responses import Response

from modelwire._version import __version__

from . import artifacts, configs, files, jobs, lists, predictors, streams, tables
from .answers import HTTP_BODY, plain
from .exchange import Exchange
from .methods import Method

Operation = Callable[[Exchange], Awaitable[Response]]


async def info(exchange: Exchange) -> Response:
    """The info card of the default runner."""
    answer = await exchange.call(exchange.rpc, await exchange.message())
    card = exchange.renderer.field(answer, exchange.method.response_body)
    return exchange.answer(card if exchange.options.info_profile == 1 else second_profile(card))


def second_profile(card: dict[str, Any]) -> dict[str, Any]:
    """The card with the fields that newer clients know; older ones refuse a card that has them."""
    versions = {"git_revision": os.environ.get("GIT_REVISION"), "chapkit_version": __version__, "servicekit_version": __version__}
    names = list(card)
    after = names.index("model_metadata") + 1
    shown: dict[str, Any] = {name: card[name] for name in names[:after]} | versions | {name: card[name] for name in names[after:]}
    return shown | {name: value for name, value in _NEWER.items() if name not in card}


_NEWER = {"target": "disease_cases", "hpo_search_space": None}

_BY_NAME: dict[str, Operation] = {
    "modelwire.v1.ArtifactService.CreateArtifact": artifacts.create,
    "modelwire.v1.ArtifactService.ExpandArtifact": artifacts.expand,
    "modelwire.v1.ArtifactService.GetArtifact": artifacts.get,
    "modelwire.v1.ArtifactService.GetArtifactMetadata": artifacts.metadata,
    "modelwire.v1.ArtifactService.GetArtifactTree": artifacts.tree,
    "modelwire.v1.ArtifactService.ListArtifacts": artifacts.list_all,
    "modelwire.v1.ArtifactService.UpdateArtifact": artifacts.update,
    "modelwire.v1.ConfigService.CreateConfig": configs.write,
    "modelwire.v1.ConfigService.ListConfigArtifacts": artifacts.of_config,
    "modelwire.v1.ConfigService.UpdateConfig": configs.write,
    "modelwire.v1.JobService.WatchJob": jobs.watch,
    "modelwire.v1.ModelService.ImportModel": files.upload_or_address,
    "modelwire.v1.PredictorService.Predict": predictors.with_payload,
    "modelwire.v1.PredictorService.Score": predictors.with_payload,
}


def operation_of(method: Method) -> Operation:
    """How a method is called."""
    if method.full_name in _BY_NAME:
        return _BY_NAME[method.full_name]
    if method.full_name == "modelwire.v1.RunnerService.GetRunner" and method.response_body:
        return info
    if files.is_upload(method):
        return files.upload
    if files.is_download(method):
        return files.download
    if method.server_streaming:
        return files.raw if method.response.full_name == HTTP_BODY else streams.streaming
    if lists.is_list(method):
        return lists.listing
    if tables.takes_frames(method):
        return tables.with_frames
    return tables.generated if tables.frame_fields(method.response) else plain
