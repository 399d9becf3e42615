"""Which names follow which models of other registries, as people write it into the settings."""

import json
from collections.abc import Sequence
from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator

from ..registry.model import PRODUCTION, check_alias, check_name
from .address import NOT_INSTALLED, Address, is_installed


class Watch(StrEnum):
    """When another registry is asked: always anew, or only when somebody has asked for it."""

    ALWAYS = "always"
    ON_REQUEST = "on-request"


# So often it is asked, unless a source says otherwise.
_EVERY = {Watch.ALWAYS: 2.0, Watch.ON_REQUEST: 10.0}


class FollowedModel(BaseModel):
    """A name here that follows a model there: what the address means there becomes a version here, to which the alias points."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(description="The name of the model here.")
    uri: str = Field(description="`mlflow:NAME@ALIAS`, `mlflow:NAME/STAGE` or `mlflow:NAME/VERSION`.")
    server: str = Field("", pattern=r"^$|^https?://", description="The MLflow server. Empty: the setting `mlflow_url`.")
    watch: Annotated[Watch, BeforeValidator(lambda value: value.lower() if isinstance(value, str) else value)] = Field(
        Watch.ALWAYS,
        description="`always`: the server there is asked again and again. `on-request`: once at the start, and after a request to reload, "
        "until a model is loaded.",
    )
    every: float | None = Field(
        None, gt=0, allow_inf_nan=False, description="So many seconds lie between two questions. Unset: 2, or 10 with `on-request`."
    )
    alias: str = Field(PRODUCTION, description="The alias here that follows.")
    runner: str = Field("", description="The runner that predicts with it. Empty: the one for models of common libraries.")
    grant: str = Field(
        "",
        description="Why pickles of this model are trusted, which can run code when they are read; recorded with each version. Empty: they "
        "are refused. The server must allow it too.",
    )

    @property
    def seconds(self) -> float:
        """How long to wait between two questions."""
        return self.every or _EVERY[self.watch]

    @field_validator("uri")
    @classmethod
    def _is_address(cls, value: str) -> str:
        return str(Address.parse(value))

    @field_validator("name")
    @classmethod
    def _is_name(cls, value: str) -> str:
        return _kept(value, check_name("name", value))

    @field_validator("alias")
    @classmethod
    def _is_alias(cls, value: str) -> str:
        return _kept(value, check_alias("alias", value))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Reads `wine=mlflow:Wine@champion`. Raises ValueError."""
        name, equals, uri = text.partition("=")
        if not equals:
            raise ValueError(f"{text!r} is not NAME=mlflow:MODEL@ALIAS")
        return cls.model_validate({"name": name.strip(), "uri": uri.strip()})


def read_followed(value: Any) -> Any:
    """Short forms and texts of variables as a list; what is written otherwise is left to pydantic. Raises ValueError."""
    if isinstance(value, str):
        value = _listed(value)
    return [FollowedModel.parse(one) if isinstance(one, str) else one for one in value] if isinstance(value, list) else value


def check_followed(models: Sequence[FollowedModel]) -> None:
    """Raises ValueError for models that cannot be followed, or not together."""
    if models and not is_installed():
        raise ValueError(NOT_INSTALLED)
    if lonely := next((one for one in models if not one.server), None):
        raise ValueError(f"say which MLflow server the source of {lonely.name} is on: set mlflow_url")
    aliases = [f"{one.name}@{one.alias}" for one in models]
    if twice := next((one for number, one in enumerate(aliases) if one in aliases[:number]), None):
        raise ValueError(f"two sources are for {twice}; give each a name or an alias of its own")


def _listed(text: str) -> Any:
    if not text.lstrip().startswith("["):
        return [part.strip() for part in text.split(",") if part.strip()]
    try:
        return json.loads(text)
    except ValueError:
        raise ValueError('write the sources as JSON: [{"name": "wine", "uri": "mlflow:Wine@champion"}]') from None


def _kept(value: str, violations: list[Any]) -> str:
    if violations:
        raise ValueError(violations[0].description)
    return value
