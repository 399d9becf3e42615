"""Artifacts as REST clients see them: with their content, if it is JSON or a frame, and with any JSON value as their data."""

from contextlib import aclosing
from typing import Any

import orjson
import pyarrow as pa
from starlette.responses import Response

from modelwire.v1 import artifact_pb2, artifact_service_pb2

from ..artifacts.archive import size_around
from .answers import location
from .bodies import ARROW
from .exchange import JSON, Exchange
from .frames import frame_to_json
from .json_text import is_json, parse_json
from .lists import listing
from .parsing import Complaints, read_message
from .problems import Problem
from .rendering import Renderer, to_json
from .shapes import FRAME_JSON, FREE_TYPE, MODEL_TYPES

ZIP = "application/zip"
WORKSPACE = "application/vnd.modelwire.workspace+json"
PICKLE = "application/x-pickle"
PICKLED_NAME = "model.pickle"
# In the metadata of artifacts whose data are any JSON value: its text.
FREE_VALUE = "json"
_NOT_FREE = object()
LARGEST_CONTENT = 64 << 20
LONGEST_REPR = 200
_SERVICE = artifact_service_pb2.DESCRIPTOR.services_by_name["ArtifactService"]
GET_ARTIFACT, _DOWNLOAD = _SERVICE.methods_by_name["GetArtifact"], _SERVICE.methods_by_name["DownloadArtifact"]
_TYPED = {"type", "metadata", "content", "content_type", "content_size", "digest"}
_WITHOUT_CONTENT = frozenset({"modelwire.v1.ArtifactData.content"})


async def get(exchange: Exchange) -> Response:
    """One artifact, with its content."""
    answer = await exchange.call(exchange.rpc, await exchange.message())
    return exchange.answer(await _whole(exchange, answer.artifact))


async def of_config(exchange: Exchange) -> Response:
    """The artifacts of a config, each with its content."""
    answer = await exchange.call(exchange.rpc, await exchange.message())
    return exchange.answer([await _whole(exchange, artifact) for artifact in answer.artifacts])


async def list_all(exchange: Exchange) -> Response:
    """Artifacts without their content."""
    return await listing(exchange, _listed)


async def _listed(exchange: Exchange, answer: Any) -> list[Any]:
    return [await _without_content(exchange, artifact) for artifact in answer.artifacts]


async def expand(exchange: Exchange) -> Response:
    """One node; what children it has is not told."""
    answer = await exchange.call(exchange.rpc, await exchange.message())
    return exchange.answer(await _node(exchange, answer.node) | {"children": None})


async def tree(exchange: Exchange) -> Response:
    """A node with all that hangs beneath it."""
    answer = await exchange.call(exchange.rpc, await exchange.message())
    return exchange.answer(await _node(exchange, answer.node))


async def _node(exchange: Exchange, node: artifact_pb2.ArtifactNode) -> dict[str, Any]:
    document = await _without_content(exchange, node)
    document["children"] = [await _node(exchange, child) for child in node.children]
    return document


async def create(exchange: Exchange) -> Response:
    """Stores an artifact whose data are an object with type, metadata and content, or any other JSON value."""
    request = await exchange.message(without=("data",))
    found = Complaints()
    read_data(request.data, exchange.body, found)
    found.settle()
    artifact = (await exchange.call(exchange.rpc, request)).artifact
    value = await _whole(exchange, artifact)
    return exchange.answer(value, headers=location(exchange.request, value))


async def update(exchange: Exchange) -> Response:
    """Changes metadata, tags and parent, and data that are any JSON value. Type and content of others never change: what is sent must be
    what is there."""
    request = await exchange.message(without=("metadata",))
    found = Complaints()
    data: Any = artifact_pb2.ArtifactData()
    read_data(data, exchange.body, found)
    found.settle()
    before = (await exchange.call(GET_ARTIFACT, artifact_service_pb2.GetArtifactRequest(artifact_id=request.artifact_id))).artifact
    if free_value(before.data) is not _NOT_FREE:
        write_free(request.metadata, exchange.body["data"])
    else:
        await _require_unchanged(exchange, before, data)
        if "metadata" in exchange.body["data"]:
            request.metadata.CopyFrom(data.metadata)
    return exchange.answer(await _whole(exchange, (await exchange.call(exchange.rpc, request)).artifact))


async def _require_unchanged(exchange: Exchange, artifact: Any, data: Any) -> None:
    """Raises Problem if the body has another type or content than the artifact."""
    shown = orjson.loads(to_json((await _whole(exchange, artifact))["data"]))
    sent = {"type": FREE_TYPE} if free_value(data) is not _NOT_FREE else exchange.body["data"]
    changed = [name for name in ("type", "content") if name in sent and sent[name] != shown.get(name)]
    if changed:
        raise Problem(409, "conflict", "Conflict", f"The {changed[0]} of an artifact never changes: store a new artifact")


async def metadata(exchange: Exchange) -> Response:
    """The metadata alone; of data that are any JSON value, those that they name so."""
    request = artifact_service_pb2.GetArtifactRequest(artifact_id=(await exchange.message()).artifact_id)
    artifact = (await exchange.call(GET_ARTIFACT, request)).artifact
    value = free_value(artifact.data)
    if value is _NOT_FREE:
        return exchange.answer(exchange.renderer.message(artifact)["data"]["metadata"])
    return exchange.answer(value.get("metadata", {}) if isinstance(value, dict) else {})


def read_data(data: Any, body: Any, found: Complaints) -> None:
    """Reads the member `data` of a body."""
    if not isinstance(body, dict) or "data" not in body:
        found.add("missing", ("body", "data"), "Field required", body)
        return
    value = body["data"]
    kind = value.get("type") if isinstance(value, dict) else None
    if isinstance(kind, str) and kind != FREE_TYPE and value.keys() <= _TYPED:
        read_message(data, {key: one for key, one in value.items() if key != "content_size"}, ("body", "data"), found)
    else:
        data.type = FREE_TYPE
        write_free(data.metadata, value)


def write_free(metadata: Any, value: Any) -> None:
    """Keeps a value in the metadata of its artifact, where it can be changed; as text, which holds every number."""
    metadata.fields[FREE_VALUE].string_value = to_json(value).decode()


def free_value(data: Any) -> Any:
    """The value that the data are, if they are one."""
    if data.type != FREE_TYPE or FREE_VALUE not in data.metadata.fields:
        return _NOT_FREE
    try:
        return parse_json(data.metadata.fields[FREE_VALUE].string_value.encode())
    except ValueError:
        return _NOT_FREE


async def _whole(exchange: Exchange, artifact: Any) -> dict[str, Any]:
    """An artifact with its content."""
    document: dict[str, Any] = exchange.renderer.message(artifact)
    data = document["data"]
    if artifact.data.content_size and not artifact.data.HasField("content"):
        data["content"] = await _content(exchange, artifact)
    value = free_value(artifact.data)
    document["data"] = _contract_data(data) if value is _NOT_FREE else value
    return document


async def _without_content(exchange: Exchange, artifact: Any) -> dict[str, Any]:
    renderer = Renderer(extra=exchange.options.extra_fields, without=_WITHOUT_CONTENT)
    document: dict[str, Any] = renderer.message(artifact)
    value = free_value(artifact.data)
    if value is _NOT_FREE:
        document["data"] = _contract_data(document["data"])
        return document
    document["data"] = {key: one for key, one in value.items() if key != "content"} if isinstance(value, dict) else value
    return document


def _contract_data(data: dict[str, Any]) -> dict[str, Any]:
    if is_pickled_model(data["type"], data["content_type"]):
        data["content_type"], data["content_size"] = ZIP, size_around(PICKLED_NAME, data["content_size"])
    data["type"] = MODEL_TYPES.get(data["type"], data["type"])
    if data["content_type"] == WORKSPACE:
        data["content_type"], data["content_size"] = ZIP, None
    elif data["content_type"] == ARROW:
        data["content_type"] = FRAME_JSON
    elif not data["content_type"]:
        data["content_type"] = None
    return data


async def _content(exchange: Exchange, artifact: Any) -> Any:
    """Content that does not travel with its artifact: frames and JSON as they are, anything else as a description of its bytes."""
    kind = artifact.data.content_type
    if kind == WORKSPACE or is_pickled_model(artifact.data.type, kind):
        return _description(b"PK\x03\x04", cut=True)
    if kind not in (ARROW, JSON) or artifact.data.content_size > LARGEST_CONTENT:
        return _description(await _downloaded(exchange, artifact.id, LONGEST_REPR), cut=artifact.data.content_size > LONGEST_REPR)
    content = await _downloaded(exchange, artifact.id, artifact.data.content_size)
    if kind == JSON:
        return orjson.Fragment(content) if is_json(content) else _description(content)
    return orjson.Fragment(frame_to_json(pa.ipc.open_stream(content).read_all()))


async def _downloaded(exchange: Exchange, artifact_id: str, size: int) -> bytes:
    """The first bytes of an artifact's content."""

    async def read() -> bytes:
        found = bytearray()
        async with aclosing(
            exchange.stream(_DOWNLOAD, artifact_service_pb2.DownloadArtifactRequest(artifact_id=artifact_id))
        ) as parts:
            async for part in parts:
                found += part.chunk  # type: ignore[attr-defined]
                if len(found) >= size and part.chunk:  # type: ignore[attr-defined]
                    break
        return bytes(found[:size])

    return await exchange.unless_gone(read())


def is_pickled_model(type: str, content_type: str) -> bool:
    """Whether REST clients get this as a zip file, as which they know models; whoever asks for a pickle gets that."""
    return type in MODEL_TYPES and content_type == PICKLE


def _description(content: bytes, *, cut: bool = False) -> dict[str, str]:
    """What stands for content that JSON cannot hold."""
    text = repr(content)
    shown = text[:LONGEST_REPR] + "..." if cut or len(text) > LONGEST_REPR else text
    error = "Value is not JSON-serializable."
    return {"_type": "bytes", "_module": "builtins", "_repr": shown, "_serialization_error": error}
