"""What the JSON of protobuf cannot express: how REST clients want certain messages to look. Everything else is derived."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from google.api import field_behavior_pb2
from google.protobuf.descriptor import EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
PACKAGE = "modelwire.v1."

# Words of the REST contract that its clients look for.
PROBLEM_PREFIX = "urn:servicekit:error:"
FRAME_JSON = "application/vnd.chapkit.dataframe+json"
MODEL_TYPES = {"ml_training": "ml_training_workspace"}
# The type of an artifact whose `data` is any JSON value instead of an object with type, metadata and content.
FREE_TYPE = "data"


def whole_seconds(time: Timestamp) -> str:
    """`2026-11-20T23:18:03`: UTC, though it does not say so."""
    return (_EPOCH + timedelta(seconds=time.seconds)).isoformat(timespec="seconds").removesuffix("+00:00")


def microseconds(time: Timestamp) -> str:
    """`2026-11-20T23:18:04.058695Z`."""
    moment = _EPOCH + timedelta(seconds=time.seconds, microseconds=time.nanos // 1000)
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


@dataclass(frozen=True, slots=True)
class Shape:
    """How a message looks in JSON. `fields` are those that REST clients know, in their order, and `extra` what is left: shown only
    if asked for. Empty means all. Absent members are null, or left out with `omit_absent`."""

    fields: tuple[str, ...] = ()
    time: Callable[[Timestamp], str] = microseconds
    omit_absent: bool = False


_ENTITY = ("id", "created_at", "updated_at", "tags")
PLAIN = Shape()
SHAPES: dict[str, Shape] = {
    f"{PACKAGE}Config": Shape((*_ENTITY, "name", "data"), whole_seconds),
    f"{PACKAGE}Artifact": Shape((*_ENTITY, "data", "parent_id", "level"), whole_seconds),
    f"{PACKAGE}ArtifactNode": Shape(
        (*_ENTITY, "data", "parent_id", "level", "level_label", "hierarchy", "children"), whole_seconds
    ),
    f"{PACKAGE}ArtifactData": Shape(("type", "metadata", "content", "content_type", "content_size")),
    f"{PACKAGE}Job": Shape(
        ("id", "status", "submitted_at", "started_at", "finished_at", "error", "error_traceback", "artifact_id"), microseconds
    ),
    f"{PACKAGE}GenerateSampleDataResponse": Shape(omit_absent=True),
}

# Fields that cannot hold everything, and those that hold it as JSON text then.
JSON_TEXTS = {f"{PACKAGE}Config.data": "data_json", f"{PACKAGE}PredictorServicePredictResponse.data": "data_json"}

# Other names by which REST clients give a field.
ALIASES: dict[str, tuple[str, ...]] = {f"{PACKAGE}RunInfo.prediction_periods": ("prediction_length",)}

# Texts that REST clients may give as whole numbers from 1, too.
NUMBERS_TOO = frozenset({f"{PACKAGE}PromoteModelRequest.version"})

# Fields that REST callers want set unless they say otherwise.
DEFAULTS: dict[str, dict[str, object]] = {
    f"{PACKAGE}TrainRequest": {"errors_in_job": True},
    f"{PACKAGE}SubmitPredictionRequest": {"errors_in_job": True},
}

# Reasons are names of a published list; every other enum value is a word.
_UPPER_CASE = {f"{PACKAGE}ErrorReason"}


def enum_words(enum: EnumDescriptor) -> dict[str, int]:
    """The numbers of an enum's values by their names in JSON: `completed` for JOB_STATUS_COMPLETED. What is not set has none."""
    prefix = enum.values_by_number[0].name.removesuffix("UNSPECIFIED")
    names = {value.number: value.name.removeprefix(prefix) for value in enum.values if value.number}
    return {name if enum.full_name in _UPPER_CASE else name.lower(): number for number, name in names.items()}


def is_required(field: FieldDescriptor) -> bool:
    """Whether a request without the field is refused."""
    options: Any = field.GetOptions()
    return field_behavior_pb2.REQUIRED in options.Extensions[field_behavior_pb2.field_behavior]


def kind_of_event(event: Message) -> str:
    """What is told, in a word: the name of the payload, or the value of the field `kind`."""
    if "payload" in event.DESCRIPTOR.oneofs_by_name:
        return str(event.WhichOneof("payload"))
    kinds: Any = event.DESCRIPTOR.fields_by_name["kind"].enum_type
    words = {number: word for word, number in enum_words(kinds).items()}
    told: Any = event
    return words.get(told.kind, "heartbeat")


# Messages that number the events of a stream, and the smallest sequence that requests may name as the last one seen.
EVENTS = frozenset({f"{PACKAGE}JobEvent", f"{PACKAGE}WatchModelsResponse"})
RESUMED_FROM = {f"{PACKAGE}WatchJobRequest": 0, f"{PACKAGE}WatchModelsRequest": -1}
