"""Addresses of models in an MLflow registry."""

import re
from dataclasses import dataclass
from importlib.util import find_spec

SCHEME = "mlflow"
# MLflow's own rules for names and aliases, without the quotes that would end a text in its queries.
_NAME = re.compile(r"[^/:@'\"`\\\x00-\x1f]{1,250}")
_ALIAS = re.compile(r"[A-Za-z0-9_-]{1,250}")
_VERSION = re.compile(r"[1-9][0-9]{0,8}")
NOT_INSTALLED = "install the extra `mlflow`: pip install 'modelwire[mlflow]'"
STAGES = ("Production", "Staging", "Archived")


def is_installed() -> bool:
    """Whether MLflow's client is there."""
    return find_spec("mlflow") is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """A model in MLflow, and which of its versions is meant: one by its number, or the one that an alias or a stage has."""

    name: str
    version: str = ""
    alias: str = ""
    stage: str = ""

    @classmethod
    def parse(cls, uri: str) -> "Address":
        """Reads `mlflow:NAME@ALIAS`, `mlflow:NAME/STAGE` and `mlflow:NAME/VERSION`. Raises ValueError, which says what is wrong."""
        scheme, _, rest = uri.partition(":")
        name, at, alias = rest.partition("@")
        name, slash, behind = (name, "", "") if at else rest.partition("/")
        wrong = f"{uri[:300]!r} is not mlflow:NAME@ALIAS, mlflow:NAME/STAGE or mlflow:NAME/VERSION"
        if scheme != SCHEME or not _NAME.fullmatch(name) or not (at or slash):
            raise ValueError(wrong)
        if at and _ALIAS.fullmatch(alias):
            return cls(name=name, alias=alias)
        if slash and _VERSION.fullmatch(behind):
            return cls(name=name, version=behind)
        if stage := next((one for one in STAGES if one.lower() == behind.lower()), ""):
            return cls(name=name, stage=stage)
        raise ValueError(f"{wrong}; stages are {', '.join(STAGES)}")

    def at(self, version: str) -> "Address":
        """The address of one version of the same model."""
        return Address(name=self.name, version=version)

    @property
    def is_fixed(self) -> bool:
        """Whether it always means the same version."""
        return bool(self.version)

    def __str__(self) -> str:
        behind = f"@{self.alias}" if self.alias else f"/{self.version or self.stage}"
        return f"{SCHEME}:{self.name}{behind}"
