"""The OpenAPI 3.1 document, from the same methods that the gateway serves."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from google.protobuf.descriptor import Descriptor

from modelwire._version import __version__
from modelwire.v1 import runner_service_pb2

from ..calls import Calls
from ..methods import Method, contract_methods
from ..rendering import Renderer
from . import surroundings
from .comments import comment
from .constraints import ANSWERED, ASKED, REPLACED, SOMETIMES, SPECIAL_ANSWERED, SPECIAL_ASKED, TOGETHER, geo_schemas
from .examples import examples_of, runners_of
from .failures import PROBLEM_SCHEMAS
from .operations import Book, operation_of, path_of, tag_of
from .schemas import PREFIX, AnsweredSchemas, AskedSchemas, Schema

VERSION = "3.1.0"
CONFIG_DATA = "ConfigData"
# Where a JSON schema on its own has what it refers to.
OWN = "#/$defs/"


async def live_document(calls: Calls) -> Schema:
    """The document for the server behind the calls, with examples that work there. Raises CallFailed."""
    runners = await runners_of(calls)
    return document(contract_methods(), runners, await examples_of(calls, runners[0]) if runners else {})


async def title(calls: Calls) -> str:
    """The title of the document. Raises CallFailed."""
    return str(info(await runners_of(calls))["title"])


def document(
    methods: Sequence[Method], runners: Sequence[runner_service_pb2.GetRunnerResponse], examples: Mapping[str, Any]
) -> Schema:
    """The document for a server with these runners, the default one first."""
    components = geo_schemas() | PROBLEM_SCHEMAS | surroundings.SCHEMAS
    data = config_data(runners, components)
    asked = ASKED | {
        "modelwire.v1.CreateConfigRequest.data": data,
        "modelwire.v1.UpdateConfigRequest.data": data,
        "geo": {"$ref": PREFIX + "FeatureCollection"},
    }
    book = Book(
        asked=AskedSchemas(components, rules=asked, special=SPECIAL_ASKED, replaced=REPLACED, together=TOGETHER),
        answered=answered_schemas(components),
        examples=examples,
    )
    paths = surroundings.paths()
    for method in methods:
        paths.setdefault(path_of(method), {})[method.verb.lower()] = operation_of(method, book)
    return {
        "openapi": VERSION,
        "info": info(runners),
        "tags": [*tags(methods), surroundings.TAG],
        "paths": paths,
        "components": {"schemas": dict(sorted(components.items()))},
    }


def info(runners: Sequence[runner_service_pb2.GetRunnerResponse]) -> Schema:
    """What the default runner says of itself."""
    if not runners:
        return {"title": "modelwire", "version": __version__}
    runner = runners[0].info
    return {"title": runner.display_name, "version": runner.version} | (
        {"description": runner.description} if runner.description else {}
    )


def tags(methods: Iterable[Method]) -> list[Schema]:
    return list({tag_of(method): {"name": tag_of(method), "description": comment(method.service)} for method in methods}.values())


def config_data(runners: Sequence[runner_service_pb2.GetRunnerResponse], components: dict[str, Schema]) -> Schema:
    """A reference to the schema of configs; with several runners, that of any. Puts the schemas among the components."""
    if not runners:
        return {"type": "object"}
    names = [CONFIG_DATA, *(f"{CONFIG_DATA}.{runner.info.id}" for runner in runners[1:])]
    for name, runner in zip(names, runners, strict=True):
        schema = Renderer().message(runner.config_schema)
        components[name] = moved(schema, OWN, f"{PREFIX}{name}/$defs/")
    references = [{"$ref": PREFIX + name} for name in names]
    return references[0] if len(references) == 1 else {"anyOf": references}


def moved(schema: Any, here: str, there: str) -> Any:
    """A JSON schema whose references begin with `there` instead of `here`."""
    if isinstance(schema, list):
        return [moved(part, here, there) for part in schema]
    if not isinstance(schema, dict):
        return schema
    parts = {name: moved(part, here, there) for name, part in schema.items()}
    reference = parts.get("$ref")
    return parts | {"$ref": there + reference.removeprefix(here)} if isinstance(reference, str) else parts


def answered_schemas(components: dict[str, Schema]) -> AnsweredSchemas:
    return AnsweredSchemas(components, rules=ANSWERED, special=SPECIAL_ANSWERED, sometimes=SOMETIMES)


def schema_of(message: Descriptor, *, several: bool = False) -> Schema:
    """The JSON schema of a message as it is answered, or of a list of them, with all that it refers to."""
    components: dict[str, Schema] = {}
    reference = answered_schemas(components).reference(message)
    schema = {"type": "array", "items": reference} if several else components.pop(message.name)
    whole: Schema = moved(schema | {"title": message.name, "$defs": components}, PREFIX, OWN)
    return whole
