"""The settings of a server: arguments win over MODELWIRE_* variables, these over the TOML file, that over the defaults."""

import difflib
import json
import os
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import ByteSize, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from .columns import SchemaPolicy
from .compiled import conversion
from .cores import available_cores
from .errors import InvalidField
from .frames import FrameLimits
from .inference.lanes import LaneRules
from .registry.model import named_by_alias
from .sources.policy import FollowedModel, check_followed, read_followed
from .upkeep.policy import Duration, RetentionPolicy

DEFAULT_FILE = Path("modelwire.toml")
# Variables that orchestrators set for the services that they start, and what they mean here.
ORCHESTRATOR_VARIABLES = {
    "SERVICEKIT_ORCHESTRATOR_URL": "orchestrator_url",
    "SERVICEKIT_HOST": "advertised_host",
    "SERVICEKIT_PORT": "advertised_port",
    "SERVICEKIT_REGISTRATION_KEY": "registration_key",
}

Port = Annotated[int, Field(ge=0, le=65535)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]
# Accepts numbers of bytes and texts such as 512KiB, 1GiB, 2 GB.
Bytes = Annotated[ByteSize, Field(gt=0)]

MIB, GIB = 1 << 20, 1 << 30

# A process has a thread for the event loop and one of gRPC's own. Where they share a core, a loop that does not sleep keeps the other from
# its work, so it looks for a shorter time.
BUSY_WAIT, BRIEF_BUSY_WAIT = 0.0005, 0.0001


class SettingsError(Exception):
    """Settings that cannot be; the message says which and why, a line each."""


class Settings(BaseSettings):
    """All settings. Durations are in seconds; sizes are in bytes and may be written as `512KiB` or `1GiB`."""

    model_config = SettingsConfigDict(env_prefix="MODELWIRE_", env_ignore_empty=True, extra="forbid", frozen=True)

    targets: Annotated[list[str], NoDecode] = Field(
        [], description="The runners to serve: `file.py:name`, `package.module:name`, or the name of an entry point."
    )
    host: str = Field("127.0.0.1", min_length=1, description="The address to listen on. 0.0.0.0 means every network interface.")
    grpc_port: Port = Field(50051, description="The gRPC port. 0 means a free one.")
    http_port: Port = Field(8000, description="The HTTP port: REST, health and metrics. 0 means a free one.")
    workers: Annotated[int, Field(ge=1, le=512)] = Field(
        1, description="So many processes serve callers, on the same ports. 1: everything is done by one process."
    )
    worker_timeout: Seconds = Field(30.0, description="With several: one whose event loop stands still for so long is replaced.")
    data_dir: Path = Field(Path("modelwire-data"), description="The folder for the database and all content.")
    database_url: str = Field(
        "",
        description="`postgresql://USER@HOST/DATABASE`, which several servers may share. Empty: an SQLite file in the data folder.",
    )
    blobs_url: str = Field(
        "",
        description="Where content is kept: a folder that all servers see, or a bucket such as `s3://BUCKET/PREFIX`. Empty: a folder "
        "in the data folder.",
    )
    blob_cache_bytes: Bytes = Field(
        ByteSize(10 * GIB), description="With content in a bucket: so much of it is kept in the data folder, to be read again."
    )

    retention: Annotated[list[RetentionPolicy], NoDecode] = Field(
        [], description="Which artifacts are deleted by themselves: a list of policies, as JSON in a variable. Empty: none."
    )
    delete_jobs_after: Duration | None = Field(
        None, description="Jobs that ended so long ago are forgotten with their events: `90d`, `12h` or seconds. Unset: none."
    )
    upkeep_interval: Seconds = Field(
        3600.0, description="How often that is looked after, and content that nothing refers to any more."
    )

    max_jobs: Count = Field(
        default_factory=available_cores, description="So many jobs run at once. The number of cores by default."
    )
    max_pending_jobs: Count = Field(10_000, description="So many jobs may wait; more are refused with OVERLOADED.")
    max_waiting_predictions: Count = Field(
        1_000, description="So many predictions may wait for a model; more are refused with OVERLOADED."
    )
    predict_threads: Count = Field(
        default_factory=available_cores,
        description="So many calls of one model that takes longer than two milliseconds run at once. The number of cores by "
        "default.",
    )
    batch_wait: float = Field(
        0.001,
        ge=0,
        le=1,
        description="So long does a prediction wait for others that are under way, to share a call of a runner whose rows are independent. "
        "One that comes alone does so once in a thousand times, to see whether others come.",
    )
    busy_wait: Annotated[float, Field(ge=0, le=0.01)] | None = Field(
        None,
        description="So long at most does a serving process look for what comes next before it sleeps, where that was worth it of late. "
        "Answers come faster for it, and it takes time of a core. 0: never. By default 0.0005 where each process has two cores, 0.0001 "
        "where it has one of several.",
    )
    pin_workers: bool = Field(
        True,
        description="Where there are as many workers as cores, each answers calls on a core of its own; models that take longer than "
        "two milliseconds compute on any.",
    )
    models_yield: bool = Field(
        False,
        description="Threads in which models compute run only where nothing else wants the core (SCHED_IDLE of Linux). Fast models are "
        "then hardly slower beside others that compute for long, and those stand still while jobs or other programs keep all cores busy: "
        "for machines on which nothing else runs.",
    )
    max_batch_rows: Count = Field(1024, description="So many rows may predictions have together that share a call.")
    told_models: Annotated[int, Field(ge=0)] = Field(
        20, description="So many models have metrics of their own, the first ones that predict; further ones are `other` together."
    )
    lease_seconds: Annotated[float, Field(ge=0.5, le=3600)] = Field(
        15.0,
        description="Jobs of a server that is silent for so long are lost: they run again elsewhere, or fail with WORKER_LOST.",
    )
    job_timeout: Seconds | None = Field(
        None, description="A job without a timeout of its own is ended after so long. Unset: only the runner's limits hold."
    )
    model_memory_bytes: Bytes = Field(ByteSize(GIB), description="Loaded models are kept in memory up to this size.")
    pinned_models: Annotated[list[str], NoDecode] = Field(
        [], description="Ids of models that are loaded at the start and stay in memory, whatever else is there."
    )
    mlflow_url: str = Field(
        "", pattern=r"^$|^https?://", description="The MLflow server that models come from (needs the extra `mlflow`). Empty: none."
    )
    expected_models: Annotated[list[str], NoDecode] = Field(
        [],
        description="Models that the server is to serve, `NAME` or `NAME@ALIAS`: it starts without them, "
        "is not ready until they are there, and loads them by itself.",
    )
    sources: Annotated[list[FollowedModel], NoDecode] = Field(
        [],
        description="Models that follow those of MLflow: a list of [documents](mlflow.md#settings), or of `NAME=mlflow:MODEL@ALIAS`; in a "
        "variable as JSON, or with commas between. Empty: none.",
    )
    trust_grants: bool = Field(
        False,
        description="Whether model files that can run code when they are read, such as pickles, are imported for callers who say why "
        "(`grant`).",
    )
    max_import_bytes: Bytes = Field(ByteSize(2 * GIB), description="The largest model file to be imported.")
    import_from: Annotated[list[str], NoDecode] = Field(
        [],
        description="What models may be imported from by their address: folders, and buckets such as `s3://BUCKET/PREFIX`. Empty: nothing.",
    )
    schema_policy: SchemaPolicy = Field(
        SchemaPolicy.SAFE,
        description="How frames of predictions are held against the columns of the training, unless a call says otherwise: `strict`, "
        "`safe` or `off`.",
    )
    compile: Literal["auto", "on", "off"] = Field(
        "auto",
        description="Whether models of scikit-learn are compiled at the end of their training: `auto` where the extra `onnx` is "
        "installed.",
    )
    engine: Literal["auto", "runner"] = Field(
        "auto",
        description="What predicts, unless a call says otherwise: `auto` the compiled form of a model where it has passed its check, "
        "`runner` the model as it was trained.",
    )

    predictor_check_seconds: Seconds = Field(
        10.0,
        description="What was found out about the readiness of a predictor or model holds for so long; then it is tested anew when asked.",
    )
    predictor_check_timeout: Seconds = Field(
        30.0, description="A predictor or model that does not answer within so long is not ready."
    )

    max_message_bytes: Bytes = Field(ByteSize(16 * MIB), description="The largest gRPC message. Larger frames travel in streams.")
    max_artifact_bytes: Bytes = Field(ByteSize(64 * GIB), description="The largest content of an artifact.")
    max_frame_bytes: Bytes = Field(ByteSize(4 * GIB), description="The largest frame in a stream.")
    max_frame_decompressed_bytes: Bytes = Field(ByteSize(8 * GIB), description="The largest frame once decompressed.")
    max_batch_bytes: Bytes = Field(ByteSize(128 * MIB), description="The largest record batch of a frame.")
    max_columns: Count = Field(10_000, description="So many columns may a frame have, nested ones included.")
    max_predict_bytes: Bytes = Field(
        ByteSize(256 * MIB),
        description="The largest frame to predict from at once as a whole; larger ones need a job, or rows that are independent.",
    )
    max_geo_bytes: Bytes = Field(ByteSize(64 * MIB), description="The largest GeoJSON in a stream.")

    max_http_body_bytes: Bytes = Field(
        ByteSize(64 * MIB), description="The largest JSON body over HTTP. Bodies of Arrow and files are bound by the limits above."
    )
    rest_info_profile: Literal[1, 2] = Field(
        1, description="The fields of `/api/v1/info`: 1 for all REST clients; 2 adds fields that older ones refuse."
    )
    rest_extra_fields: bool = Field(
        False, description="Whether the documents of REST have all fields of the contract, not only those that REST clients know."
    )
    forwarded_headers: Annotated[list[str], NoDecode] = Field(
        [],
        description="Headers of HTTP requests that become metadata of calls, beside `authorization`, `traceparent` and the like.",
    )

    default_deadline: Seconds = Field(300.0, description="A call without deadline that is not a stream is ended after so long.")
    heartbeat_seconds: Seconds = Field(
        15.0, description="How often a quiet watch says that it is alive, unless its caller says otherwise."
    )
    drain_seconds: float = Field(10.0, ge=0, allow_inf_nan=False, description="So long may calls and jobs take to end at shutdown.")
    max_connection_age: Seconds = Field(
        3600.0,
        description="Clients are asked to connect anew after so long, so that load spreads; with several workers after a minute.",
    )
    max_connection_age_grace: Seconds = Field(600.0, description="So long may calls on such a connection take to end.")
    max_concurrent_rpcs: Count | None = Field(None, description="More calls at once are refused. Unset: no limit.")
    reflection: bool = Field(True, description="Whether clients may ask the server for its contract.")
    reuse_port: bool = Field(False, description="Whether other processes may listen on the gRPC port too.")

    orchestrator_url: str = Field(
        "",
        pattern=r"^$|^https?://",
        description="An orchestrator to register with: the URL to post to, ending in `/$register`. Empty: none.",
    )
    registration_key: SecretStr = Field(SecretStr(""), description="What is shown to it as `X-Service-Key`. Empty: nothing.")
    advertised_host: str = Field("", description="The host under which it reaches this server. Empty: this machine's name.")
    advertised_port: Port | None = Field(None, description="The HTTP port under which it does. Unset: the one that is listened on.")
    registration_required: bool = Field(False, description="Whether a server that cannot register does not start.")
    keepalive_seconds: Seconds = Field(10.0, description="How often it is told that this server lives.")
    registration_grace_seconds: float = Field(
        30.0, ge=0, allow_inf_nan=False, description="So long after it has forgotten this server is it registered anew."
    )

    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="What is logged at least.")
    log_format: Literal["console", "json"] = Field("console", description="How it is logged: for people or for programs.")

    @field_validator("targets", "forwarded_headers", "pinned_models", "expected_models", "import_from", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value

    @field_validator("expected_models")
    @classmethod
    def _read_names(cls, value: list[str]) -> list[str]:
        try:
            return list(dict.fromkeys(named_by_alias(name) for name in value))
        except InvalidField as error:
            raise ValueError(error.violations[0].description) from None

    @field_validator("retention", mode="before")
    @classmethod
    def _read_policies(cls, value: Any) -> Any:
        try:
            return json.loads(value) if isinstance(value, str) else value
        except ValueError:
            raise ValueError('write the policies as JSON: [{"older_than": "30d"}]') from None

    @field_validator("sources", mode="before")
    @classmethod
    def _read_sources(cls, value: Any) -> Any:
        return read_followed(value)

    @field_validator("rest_info_profile", mode="before")
    @classmethod
    def _number(cls, value: Any) -> Any:
        return int(value) if isinstance(value, str) and value.isdigit() else value

    @field_validator("log_level", "log_format", "schema_policy", "compile", "engine", mode="before")
    @classmethod
    def _lower(cls, value: Any) -> Any:
        return value.lower() if isinstance(value, str) else value

    @property
    def lane_rules(self) -> LaneRules:
        return LaneRules(
            wait=self.batch_wait,
            max_rows=self.max_batch_rows,
            max_waiting=self.max_waiting_predictions,
            threads=self.predict_threads,
            yields=self.models_yield,
            cores=max(1, available_cores() // self.workers),
        )

    @field_validator("compile")
    @classmethod
    def _needs_the_extra(cls, value: str) -> str:
        if value == "on" and not conversion.is_installed():
            raise ValueError("install the extra `onnx`: pip install 'modelwire[onnx]'")
        return value

    @model_validator(mode="after")
    def _can_follow(self) -> Self:
        check_followed(self.followed_models)
        return self

    @property
    def followed_models(self) -> list[FollowedModel]:
        """The sources, each with the server that it is on."""
        return [one if one.server else one.model_copy(update={"server": self.mlflow_url}) for one in self.sources]

    @property
    def all_expected_models(self) -> list[str]:
        """Also those that follow others, each as `NAME@ALIAS`."""
        return list(dict.fromkeys([*self.expected_models, *(f"{one.name}@{one.alias}" for one in self.sources)]))

    @property
    def mlflow_servers(self) -> set[str]:
        return {self.mlflow_url, *(one.server for one in self.sources)}

    @property
    def busy_seconds(self) -> float:
        """For how long a serving process looks for what comes next before it sleeps."""
        if self.busy_wait is not None:
            return self.busy_wait
        cores = available_cores()
        if cores >= 2 * self.workers:
            return BUSY_WAIT
        return BRIEF_BUSY_WAIT if cores >= max(2, self.workers) else 0.0

    @property
    def compiles(self) -> bool:
        """Whether models are compiled at the end of their training."""
        return self.compile == "on" or (self.compile == "auto" and conversion.is_installed())

    @property
    def frame_limits(self) -> FrameLimits:
        return FrameLimits(
            max_bytes=self.max_frame_bytes,
            max_decompressed_bytes=self.max_frame_decompressed_bytes,
            max_batch_bytes=self.max_batch_bytes,
            max_columns=self.max_columns,
        )

    @classmethod
    def load(cls, config: Path | None = None, **arguments: Any) -> Self:
        """Settings from everywhere. `config` must exist if given; arguments that are None are not given. Raises SettingsError."""
        path = config or DEFAULT_FILE
        given = {name: value for name, value in arguments.items() if value is not None}
        from_file = _read_file(path, set(cls.model_fields)) if config or path.exists() else {}
        from_file = {name: value for name, value in from_file.items() if not _in_environment(name)}
        try:
            return cls(**{**_from_orchestrator(), **from_file, **given})
        except ValidationError as error:
            raise SettingsError(
                "\n".join(_sentence(problem, from_file.keys() - given.keys(), path) for problem in error.errors())
            ) from None


def _read_file(path: Path, known: set[str]) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            values = tomllib.load(file)
    except OSError as error:
        raise SettingsError(f"the settings file {path} cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"the settings file {path} is no TOML: {error}") from None
    unknown = [_unknown(name, known, path) for name in values if name not in known]
    if unknown:
        raise SettingsError("\n".join(unknown))
    return values


def _unknown(name: str, known: set[str], path: Path) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"{path}: there is no setting {name!r}" + (f"; did you mean {close[0]!r}?" if close else "")


def _from_orchestrator() -> dict[str, str]:
    """What an orchestrator has set in the environment, where this server's own variables say nothing."""
    names = ORCHESTRATOR_VARIABLES.items()
    return {name: os.environ[key] for key, name in names if os.environ.get(key) and not _in_environment(name)}


def _in_environment(name: str) -> bool:
    return any(key.upper() == f"MODELWIRE_{name.upper()}" and value for key, value in os.environ.items())


def _sentence(problem: Any, in_file: set[str], path: Path) -> str:
    name = ".".join(str(part) for part in problem["loc"])
    setting = str(problem["loc"][0]) if problem["loc"] else ""
    source = f"{path}: " if setting in in_file else f"MODELWIRE_{setting.upper()}: " if _in_environment(setting) else ""
    if problem["type"] == "extra_forbidden":
        return f"{source}there is no setting {name!r}"
    message = problem["msg"].removeprefix("Value error, ")
    if not name:
        # What is wrong with several settings together.
        return str(message)
    return f"{source}{name} is {problem['input']!r}: {message[0].lower()}{message[1:]}"
