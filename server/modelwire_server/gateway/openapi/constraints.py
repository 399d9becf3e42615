"""What requests must keep to beyond the types of their fields, for the OpenAPI document; and what is other JSON than its message.

The rules are those of the domain; where it has a name for a limit, it is used."""

from typing import Any

from geojson_pydantic import FeatureCollection
from google.protobuf.descriptor import FieldDescriptor

from modelwire.v1 import model_service_pb2

from ...formats.model import IMPORTED
from ...registry.gate import DEMANDABLE
from ...rules import MOST_TAGS
from ...services.checks import HIGHEST_PRIORITY, LONGEST_MESSAGE, LONGEST_REQUEST_ID, LONGEST_TEXT, MEDIA_TYPE
from ...services.gates import MOST_METRICS
from ...services.models import LONGEST_DESCRIPTION
from ..jobs import LONGEST_INTERVAL
from ..lists import LARGEST_PAGE
from .schemas import PREFIX, Rules, Schema

# Identifiers are written in upper case, and read in any.
ULID = "[0-7][0-9A-HJKMNP-TV-Z]{25}"
ULID_READ = "[0-7][0-9A-HJKMNP-TV-Za-hjkmnp-tv-z]{25}"
EXAMPLE_ID = "01ARZ3NDEKTSV4RRFFQ69G5FAV"

_WITHOUT_NUL = r"^[^\u0000]*$"
# What is left of a name without the blanks around it is something.
_NOT_BLANK = (
    r"^[^\u0000]*[^\u0000\u0009-\u000d\u001c-\u0020\u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000][^\u0000]*$"
)
ID: Schema = {"pattern": f"^{ULID_READ}$", "examples": [EXAMPLE_ID]}
_OPTIONAL_ID: Schema = {"pattern": f"^({ULID_READ})?$"}
_TEXT: Schema = {"maxLength": LONGEST_TEXT, "pattern": _WITHOUT_NUL}
_COUNT: Schema = {"minimum": 0}
_NAME, _ALIAS, _VERSION = "[A-Za-z0-9][A-Za-z0-9._-]{0,99}", "[A-Za-z][A-Za-z0-9_-]{0,49}", "[1-9][0-9]{0,8}"
NAME: Schema = {"pattern": f"^{_NAME}$", "examples": ["weather"]}
_MODEL: Schema = {"pattern": f"^({_NAME})(@{_ALIAS}|/{_VERSION})?$", "examples": [EXAMPLE_ID, "weather@production"]}
_DESCRIPTION: Schema = {"maxLength": LONGEST_DESCRIPTION, "pattern": _WITHOUT_NUL}
_BOUND: Schema = {"minimum": 0}

# By the name of a field in any request, or by its full name.
ASKED: dict[str, Schema] = {
    "artifact_id": ID,
    "config_id": ID,
    "job_id": ID,
    "id": _OPTIONAL_ID,
    "input_id": _OPTIONAL_ID,
    "model_id": _OPTIONAL_ID,
    "parent_id": _OPTIONAL_ID,
    "prediction_id": _OPTIONAL_ID,
    "modelwire.v1.PredictRequest.model": _MODEL,
    "modelwire.v1.ScoreModelRequest.model": _MODEL,
    "modelwire.v1.ScoreModelRequest.target": {"maxLength": LONGEST_TEXT, "pattern": _WITHOUT_NUL},
    "modelwire.v1.ScoreModelRequest.prediction": {"maxLength": LONGEST_TEXT, "pattern": _WITHOUT_NUL},
    "modelwire.v1.SubmitPredictionRequest.artifact_id": _MODEL,
    "modelwire.v1.GenerateSampleDataRequest.config_id": _OPTIONAL_ID,
    # Only one of them counts: see TOGETHER.
    "modelwire.v1.ValidateInputRequest.artifact_id": {"type": "string"},
    "modelwire.v1.ValidateInputRequest.config_id": {"type": "string"},
    "modelwire.v1.ListJobsRequest.config_id": _OPTIONAL_ID,
    "tags": {"maxItems": MOST_TAGS, "uniqueItems": True, "items": {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,100}$"}},
    # Of what is looked for; any text may be.
    "modelwire.v1.ListConfigsRequest.tags": {"items": {"type": "string"}},
    "modelwire.v1.ListArtifactsRequest.tags": {"items": {"type": "string"}},
    "request_id": {"maxLength": LONGEST_REQUEST_ID, "pattern": _WITHOUT_NUL},
    "priority": {"minimum": -HIGHEST_PRIORITY, "maximum": HIGHEST_PRIORITY},
    "timeout": {"pattern": r"^(?!0*(\.0+)?s$)[0-9]{1,7}(\.[0-9]{1,9})?s$", "examples": ["30s"]},
    "heartbeat_interval": {"pattern": r"^(([1-9][0-9]?|[12][0-9]{2})(\.[0-9]{1,9})?|300)s$", "examples": ["30s"]},
    # Of the content that is sent.
    "digest": {"pattern": "^(sha256:[0-9a-fA-F]{64})?$", "format": "digest"},
    "modelwire.v1.UploadHeader.content_type": {"pattern": f"^({MEDIA_TYPE.pattern})?$", "maxLength": LONGEST_TEXT},
    "page_size": _COUNT,
    "skip": _COUNT,
    # Not any text: what the answer before said.
    "page_token": {"format": "page-token"},
    "modelwire.v1.CreateConfigRequest.name": _TEXT | {"minLength": 1, "pattern": _NOT_BLANK},
    "modelwire.v1.UpdateConfigRequest.name": _TEXT | {"minLength": 1, "pattern": _NOT_BLANK},
    "modelwire.v1.CancelJobRequest.message": {"maxLength": LONGEST_MESSAGE, "pattern": _WITHOUT_NUL},
    "modelwire.v1.WatchJobRequest.after_sequence": _COUNT,
    "modelwire.v1.DownloadArtifactRequest.offset": _COUNT,
    # Each may be anything: what does not fit is told in its outcome.
    "modelwire.v1.PredictBatchRequest.items": {"maxItems": 1_000},
    "modelwire.v1.WatchModelsRequest.after_sequence": {"minimum": -1},
    "modelwire.v1.ListModelsRequest.tags": {"items": {"type": "string"}},
    "modelwire.v1.RegisterModelVersionRequest.description": _DESCRIPTION,
    "modelwire.v1.UpdateModelRequest.description": _DESCRIPTION,
    "modelwire.v1.UpdateModelVersionRequest.description": _DESCRIPTION,
    "modelwire.v1.RegisterModelVersionRequest.algorithm": _TEXT,
    "modelwire.v1.RegisterModelVersionRequest.target": _TEXT,
    "modelwire.v1.RegisterModelVersionRequest.framework": _TEXT,
    "modelwire.v1.ImportHeader.description": _DESCRIPTION,
    **{f"modelwire.v1.ImportHeader.{name}": _TEXT for name in ("algorithm", "target", "framework", "runner_id")},
    "modelwire.v1.ImportHeader.format": {"enum": ["", *IMPORTED]},
    "modelwire.v1.PromotionGate.metrics": {"maxProperties": MOST_METRICS},
    "modelwire.v1.PromotionGate.required": {"items": {"type": "string", "enum": list(DEMANDABLE)}},
    "modelwire.v1.GoldenRows.dataset_id": _OPTIONAL_ID,
    **{f"modelwire.v1.MetricBounds.{name}": _BOUND for name in ("max_drop", "max_rise")},
    **{f"modelwire.v1.GoldenRows.{name}": _BOUND for name in ("max_difference", "max_slowdown", "max_seconds")},
    "modelwire.v1.GenerateSampleDataRequest.num_locations": {"minimum": 1, "maximum": 1_000},
    "modelwire.v1.GenerateSampleDataRequest.num_periods": {"minimum": 1, "maximum": 10_000},
    "modelwire.v1.GenerateSampleDataRequest.num_features": {"minimum": 0, "maximum": 1_000},
}

# How calls of the registry say which model, version and alias; an empty one means what its comment says.
_POINTERS = {
    "name": NAME,
    "version": {"pattern": f"^({_VERSION}|{_ALIAS})$", "examples": ["1", "production"]},
    "alias": {"pattern": f"^({_ALIAS})?$", "examples": ["production"]},
}
ASKED |= {
    f"{message.full_name}.{field}": rule
    for message in model_service_pb2.DESCRIPTOR.message_types_by_name.values()
    for field, rule in _POINTERS.items()
    if message.name.endswith(("Request", "ImportHeader")) and field in message.fields_by_name
}
ASKED["modelwire.v1.PromoteModelRequest.version"] = {
    "anyOf": [{"type": "string"} | _POINTERS["version"], {"type": "integer", "minimum": 1, "maximum": 999_999_999}]
}
ASKED["modelwire.v1.WatchModelsRequest.name"] = {"pattern": f"^({_NAME})?$"}
ASKED["modelwire.v1.DeleteModelAliasRequest.alias"] = {"pattern": f"^{_ALIAS}$", "examples": ["staging"]}

# Fields that are better not mentioned: they count for nothing, or are for other programs.
IGNORED = frozenset(
    {
        "modelwire.v1.ArtifactData.content_size",
        "modelwire.v1.ArtifactData.digest",
        # The same as `data`, for numbers that messages cannot hold.
        "modelwire.v1.CreateConfigRequest.data_json",
        "modelwire.v1.UpdateConfigRequest.data_json",
        "modelwire.v1.PredictorServicePredictRequest.data_json",
        "modelwire.v1.PredictorServiceScoreRequest.data_json",
    }
)


def has_pattern(field: FieldDescriptor) -> bool:
    """Whether not every text will do, though it need not be an id."""
    return "pattern" in ASKED.get(field.full_name, {}) and not is_id(field)


def is_id(field: FieldDescriptor) -> bool:
    return (ASKED.get(field.full_name) or ASKED.get(field.name)) in (ID, _OPTIONAL_ID)


_UNTYPED: Schema = {
    "not": {
        "type": "object",
        "properties": {"type": {"type": "string"}},
        "required": ["type"],
        "propertyNames": {"enum": ["type", "metadata", "content", "content_type", "content_size", "digest"]},
    }
}
_ANY_DATA: Schema = {"anyOf": [{"$ref": PREFIX + "ArtifactDataInput"}, _UNTYPED]}
_DATA_TEXT = "What it is, as an object with `type`, `metadata` and `content`; or any other JSON value."
ASKED |= {"modelwire.v1.CreateArtifactRequest.data": _ANY_DATA}

# Fields of a request that REST clients give as another member.
REPLACED: dict[str, tuple[str, Schema]] = {
    "modelwire.v1.UpdateArtifactRequest.metadata": (
        "data",
        _ANY_DATA | {"description": f"{_DATA_TEXT} Its content must not change."},
    ),
}
# What members of a request go together.
TOGETHER: dict[str, Schema] = {
    "modelwire.v1.GoldenRows": {"allOf": [{"properties": {"dataset_id": {"type": "string"} | ID}, "required": ["dataset_id"]}]},
    "modelwire.v1.ValidateInputRequest": {
        "oneOf": [
            {
                "properties": {"type": {"const": "train"}, "config_id": {"type": "string"} | ID, "data": {"type": "object"}},
                "required": ["config_id", "data"],
            },
            {
                "properties": {
                    "type": {"const": "predict"},
                    "artifact_id": {"type": "string"} | ID,
                    "historic": {"type": "object"},
                    "future": {"type": "object"},
                },
                "required": ["artifact_id", "historic", "future"],
            },
        ]
    },
}

_DATA: Schema = {"anyOf": [{"$ref": PREFIX + "ArtifactData"}, {"description": "Whatever JSON was stored."}]}
ANSWERED: dict[str, Schema] = {
    "modelwire.v1.Artifact.data": _DATA,
    "modelwire.v1.ArtifactNode.data": _DATA,
    "modelwire.v1.ArtifactNode.children": {"type": ["array", "null"]},
    "modelwire.v1.ArtifactData.content_type": {"type": ["string", "null"]},
} | {
    f"modelwire.v1.{message}.{field}": {"pattern": f"^{ULID}$", "examples": [EXAMPLE_ID]}
    for message, fields in {
        "Config": ("id",),
        "Artifact": ("id", "parent_id"),
        "ArtifactNode": ("id", "parent_id"),
        "Job": ("id", "artifact_id"),
        "TrainResponse": ("job_id", "artifact_id"),
        "SubmitPredictionResponse": ("job_id", "artifact_id"),
    }.items()
    for field in fields
}

_COLUMN_TYPES = ["string", "integer", "number", "boolean", "any"]


def _frame(*, asked: bool) -> Schema:
    text: Schema = {"type": ["string", "null"] if asked else "string"}
    column: Schema = {
        "type": "object",
        "properties": {
            "name": {"type": "string", "description": "The column's name."},
            "type": {"type": "string", "enum": _COLUMN_TYPES},
            "title": text | {"description": "A title for people."},
            "description": text | {"description": "What the column means."},
        },
        "required": ["name", "type"],
    }
    described: Schema = {"type": "object", "properties": {"fields": {"type": "array", "items": column}}, "required": ["fields"]}
    name: Schema = {"type": "string", "pattern": _WITHOUT_NUL} if asked else {"type": "string"}
    return {
        "description": "A table. Each row has one value for each column.",
        "type": "object",
        "properties": {
            "columns": {"type": "array", "items": name, "uniqueItems": True, "description": "The names of the columns, in order."},
            "data": {
                "type": "array",
                "items": {"type": "array", "items": {}},
                "description": "The rows. Null is a missing value.",
            },
            "schema": {"anyOf": [described, {"type": "null"}]} if asked else described,
        },
        "required": ["columns", "data"] if asked else ["columns", "data", "schema"],
    }


def geo_schemas() -> dict[str, Schema]:
    """GeoJSON, as components: FeatureCollection and what it is made of."""
    schema: dict[str, Any] = FeatureCollection.model_json_schema(ref_template=PREFIX + "{model}")
    parts: dict[str, Schema] = schema.pop("$defs")
    del parts["BaseModel"]
    parts["Feature"]["properties"]["properties"] = {"type": ["object", "null"], "description": "What is known of the feature."}
    return {"FeatureCollection": schema} | parts


# Of every list (see `lists`) and of streams (see `streams`).
LIST_PARAMETERS: list[Schema] = [
    {
        "name": "page",
        "in": "query",
        "description": "Together with `size`: the page with this number, from 1. Without both the answer is an array of everything.",
        "schema": {"type": "integer", "minimum": 1},
    },
    {
        "name": "size",
        "in": "query",
        "description": "Together with `page`: how many there are on a page.",
        "schema": {"type": "integer", "minimum": 1, "maximum": LARGEST_PAGE},
    },
]
LAST_EVENT: Schema = {
    "name": "Last-Event-ID",
    "in": "header",
    "description": "Resumes a stream of events after the one with this id, as browsers do by themselves.",
    "schema": {"type": "string", "pattern": "^[0-9]{0,18}$"},
}
POLL_INTERVAL: Schema = {
    "name": "poll_interval",
    "in": "query",
    "description": "Seconds between two messages.",
    "schema": {"type": "number", "exclusiveMinimum": 0, "maximum": LONGEST_INTERVAL},
}

# Members that are not in every answer.
SOMETIMES = frozenset({"modelwire.v1.ArtifactData.content"})

# Messages that are something else in JSON.
SPECIAL_ASKED: dict[str, Schema] = {"modelwire.v1.Frame": _frame(asked=True)}
SPECIAL_ANSWERED: dict[str, Schema] = {"modelwire.v1.Frame": _frame(asked=False)}


ASKED_RULES = Rules(fields=ASKED, messages=SPECIAL_ASKED, replaced=REPLACED, together=TOGETHER, ignored=IGNORED)
ANSWERED_RULES = Rules(fields=ANSWERED, messages=SPECIAL_ANSWERED, sometimes=SOMETIMES)
