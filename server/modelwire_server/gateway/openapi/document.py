"""The OpenAPI 3.1 document, from the same methods that the gateway serves."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from modelwire._version import __version__
from modelwire.v1 import runner_service_pb2

from ..calls import Calls
from ..methods import Method, contract_methods
from ..rendering import Renderer
from . import predictors, single_rows, surroundings
from .comments import comment
from .constraints import ANSWERED_RULES, ASKED_RULES, geo_schemas
from .examples import examples_of, predictors_of, runners_of
from .failures import PROBLEM_SCHEMAS
from .operations import Book, operation_of, path_of, tag_of
from .schemas import OWN, PREFIX, AnsweredSchemas, AskedSchemas, Schema, moved

VERSION = "3.1.0"
CONFIG_DATA = "ConfigData"


async def live_document(calls: Calls, *, extra_fields: bool = False) -> Schema:
    """The document for the server behind the calls, with examples that work there. Raises CallFailed."""
    runners = await runners_of(calls)
    examples = await examples_of(calls, runners[0]) if runners else {}
    served = await predictors_of(calls)
    return document(contract_methods(), runners, examples, served, extra_fields=extra_fields)


async def title(calls: Calls) -> str:
    """The title of the document. Raises CallFailed."""
    return str(info(await runners_of(calls))["title"])


def document(
    methods: Sequence[Method],
    runners: Sequence[runner_service_pb2.GetRunnerResponse],
    examples: Mapping[str, Any],
    served: predictors.Predictors = (),
    *,
    extra_fields: bool = False,
) -> Schema:
    """The document for a server with these runners, the default one first, and the predictors that are `served`."""
    components = geo_schemas() | PROBLEM_SCHEMAS | surroundings.SCHEMAS | single_rows.SCHEMAS
    data = config_data(runners, components)
    fields = {
        "modelwire.v1.CreateConfigRequest.data": data,
        "modelwire.v1.UpdateConfigRequest.data": data,
        "geo": {"$ref": PREFIX + "FeatureCollection"},
    }
    replaced = {**ASKED_RULES.replaced, **predictors.payload_fields(served, components)}
    book = Book(
        asked=AskedSchemas(components, replace(ASKED_RULES, fields={**ASKED_RULES.fields, **fields}, replaced=replaced)),
        answered=AnsweredSchemas(components, replace(ANSWERED_RULES, extra=extra_fields)),
        examples={**examples, **predictors.examples_of(served)},
    )
    paths = surroundings.paths() | predictors.paths(served) | single_rows.paths(examples)
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
