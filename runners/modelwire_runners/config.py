"""The parameters of a runner."""

from pydantic import BaseModel, ConfigDict


class BaseConfig(BaseModel):
    """Base of config schemas: subclass it and add fields with types and defaults. Keys that no field takes are kept as they are."""

    model_config = ConfigDict(extra="allow", populate_by_name=True)

    prediction_periods: int = 3
    additional_continuous_covariates: list[str] = []
