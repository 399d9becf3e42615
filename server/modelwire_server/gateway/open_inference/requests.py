"""Bodies of requests for predictions become messages. A body is JSON, with the raw values of tensors after it where
`Inference-Header-Content-Length` says how long the JSON is."""

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from starlette.requests import Request

from ...protocols.open_inference.v2 import open_inference_pb2 as pb
from ..bodies import collected, too_large
from .refusals import Refused
from .values import raw_of

HEADER_LENGTH = "inference-header-content-length"
# The length of a tensor in what follows the JSON, and how outputs are asked for in the same form: one by one, or all.
BINARY_SIZE, BINARY, ALL_BINARY = "binary_data_size", "binary_data", "binary_data_output"
_ENCODINGS = ("gzip", "deflate")
_GZIP_OR_ZLIB = 47  # what zlib calls looking for the header of either


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, and which of its outputs are wanted as binary data; those that are not named by `all_binary`."""

    message: pb.ModelInferRequest
    binary: Mapping[str, bool]
    all_binary: bool


async def body_of(request: Request, *, most_json: int, most_tensors: int) -> tuple[bytes, bytes]:
    """The JSON of a request, and what follows it. Raises Problem and Refused for what is too large or no such body."""
    length = request.headers.get(HEADER_LENGTH)
    limit = most_json if length is None else most_tensors
    body = await collected(request, limit)
    encoding = request.headers.get("content-encoding", "identity").lower()
    if encoding in _ENCODINGS:
        body = _decompressed(body, limit)
    elif encoding != "identity":
        raise Refused(f"a body cannot be encoded as {encoding[:50]}, only as {' or '.join(_ENCODINGS)}", 415)
    if length is None:
        return body, b""
    if not length.isdecimal() or int(length) > len(body):
        raise Refused(f"{HEADER_LENGTH} is {length[:50]!r}, but the body has {len(body):,} bytes")
    if int(length) > most_json:
        raise too_large(most_json)
    return body[: int(length)], body[int(length) :]


def _decompressed(body: bytes, limit: int) -> bytes:
    reader = zlib.decompressobj(_GZIP_OR_ZLIB)
    try:
        content = reader.decompress(body, limit + 1)
    except zlib.error as error:
        raise Refused(f"the body cannot be decompressed: {error}") from None
    if len(content) > limit:
        raise too_large(limit)
    if not reader.eof:
        raise Refused("the body ends before the end of its compressed content")
    return content


def asked_of(text: bytes, binary: bytes, model: str, version: str) -> Asked:
    """Raises Refused."""
    document = document_of(text)
    parameters = dict(_object(document.get("parameters") or {}, "parameters"))
    all_binary = parameters.pop(ALL_BINARY, False) is True
    outputs = [_object(one, "an output") for one in _list(document, "outputs")]
    try:
        message = pb.ModelInferRequest(model_name=model, model_version=version, id=_text(document, "id"))
        _set(message.parameters, parameters)
        _add_inputs(message, _list(document, "inputs"), binary)
        for output in outputs:
            added = message.outputs.add(name=_text(output, "name"))
            _set(added.parameters, {key: value for key, value in _parameters(output).items() if key != BINARY})
    except (ValueError, TypeError) as error:
        raise Refused(f"the request is no ModelInferRequest: {error}") from None
    chosen = {output["name"]: _parameters(output)[BINARY] is True for output in outputs if BINARY in _parameters(output)}
    return Asked(message, chosen, all_binary)


def _add_inputs(message: pb.ModelInferRequest, inputs: list[Any], binary: bytes) -> None:
    at = 0
    for one in inputs:
        tensor = _object(one, "an input")
        name, datatype, shape = _text(tensor, "name"), _text(tensor, "datatype"), _shape(tensor)
        parameters = dict(_parameters(tensor))
        size = parameters.pop(BINARY_SIZE, None)
        if size is None and any(key.startswith("shared_memory_") for key in parameters):
            raw = b""  # which the service refuses, with its reason
        elif size is None:
            raw = raw_of(name, datatype, shape, tensor.get("data"))
        elif type(size) is not int or not 0 <= size <= len(binary) - at:
            raise Refused(f"tensor {name!r} has the {BINARY_SIZE} {size!r}, but {len(binary) - at:,} bytes are left in the body")
        else:
            raw = binary[at : at + size]
            at += size
        _set(message.inputs.add(name=name, datatype=datatype, shape=shape).parameters, parameters)
        message.raw_input_contents.append(raw)
    if at < len(binary):
        raise Refused(f"{len(binary) - at:,} bytes follow after the values of all tensors")


def document_of(text: bytes) -> dict[str, Any]:
    """The object that a body is; empty where there is none. Raises Refused."""
    return _object(_parsed(text), "the body") if text.strip() else {}


def _parsed(text: bytes) -> Any:
    """JSON, in which NaN and infinities may stand, as some clients write them."""
    try:
        return orjson.loads(text)
    except ValueError as error:
        if not any(word in text for word in (b"NaN", b"Infinity")):
            raise Refused(f"the body is no JSON: {error}") from None
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Refused(f"the body is no JSON: {error}") from None


def _object(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise Refused(f"{what} must be a JSON object")
    return value


def _list(document: dict[str, Any], name: str) -> list[Any]:
    value = document.get(name)
    if value is not None and not isinstance(value, list):
        raise Refused(f"{name} must be a list")
    return value or []


def _text(document: dict[str, Any], name: str) -> str:
    value = document.get(name, "")
    if not isinstance(value, str):
        raise Refused(f"{name} must be a text, not {value!r:.50}")
    return value


def _shape(tensor: dict[str, Any]) -> list[int]:
    shape = tensor.get("shape")
    if not isinstance(shape, list) or not all(type(length) is int and length >= 0 for length in shape):
        raise Refused(f"tensor {_text(tensor, 'name')!r} needs a shape: a list of whole numbers that are not negative")
    return shape


def _parameters(document: dict[str, Any]) -> dict[str, Any]:
    return _object(document.get("parameters") or {}, "parameters")


def _set(target: Any, parameters: dict[str, Any]) -> None:
    for name, value in parameters.items():
        match value:
            case bool():
                target[name].bool_param = value
            case int() if value >= 1 << 63:
                target[name].uint64_param = value
            case int():
                target[name].int64_param = value
            case float():
                target[name].double_param = value
            case str():
                target[name].string_param = value
            case None:
                continue
            case _:
                raise Refused(f"the parameter {name!r} must be a text, a number, true or false")
