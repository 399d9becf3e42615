"""Cases of a disease from rainfall and temperature, by month or by week: made for whoever calls it over REST.

    modelwire serve examples/disease.py:runner

Training takes `disease_cases` and whatever stands beside it: `time_period` (`2024-07` or `2024-W31`), `location`, and numbers such as
`rainfall` and `mean_temperature`. None of these has to be there. Without `disease_cases` it learns to predict the last column.
"""

import numpy as np
import pandas as pd
from pydantic import Field
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import PoissonRegressor
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from modelwire_runners import (
    AssessedStatus,
    BaseConfig,
    FunctionalModelRunner,
    ModelMetadata,
    PeriodType,
    RunContext,
    RunnerInfo,
    Severity,
    ValidationDiagnostic,
)

TARGET, PERIOD, LOCATION = "disease_cases", "time_period", "location"
PERIODS_A_YEAR = {"month": 12, "week": 52}


class Config(BaseConfig):
    """What can be chosen for a training."""

    alpha: float = Field(default=0.1, ge=0, description="Strength of the regularization.")
    samples: int = Field(default=10, ge=1, le=1000, description="How many samples of each prediction are drawn.")
    seed: int = Field(default=0, ge=0, description="The same seed draws the same samples.")


def train(config: Config, data: pd.DataFrame, context: RunContext) -> Pipeline:
    """Fits a Poisson regression: the numbers, the season, and a level for each location."""
    target = TARGET if TARGET in data else data.columns[-1]
    known = data[data[target].notna()]
    inputs = with_season(known.drop(columns=target))
    numbers = [name for name in inputs if pd.api.types.is_numeric_dtype(inputs[name])]
    places = [LOCATION] if LOCATION in inputs else []
    columns = make_column_transformer(
        (make_pipeline(SimpleImputer(keep_empty_features=True), StandardScaler()), numbers),
        (OneHotEncoder(handle_unknown="ignore", sparse_output=False), places),
    )
    model = make_pipeline(columns, PoissonRegressor(alpha=config.alpha, max_iter=1000))
    context.progress(0.1, f"{len(known)} rows, {len(numbers)} numbers, {len(places) and known[LOCATION].nunique()} locations")
    model.fit(inputs[[*numbers, *places]], known[target])
    context.metric("deviance_explained", model.score(inputs[[*numbers, *places]], known[target]))
    print(f"learned {target} from {', '.join([*numbers, *places])}")
    return model


def predict(config: Config, model: Pipeline, historic: pd.DataFrame, future: pd.DataFrame) -> pd.DataFrame:
    """Adds the columns `sample_0`, `sample_1` ...: cases as they may come."""
    expected = model.predict(with_season(future)[list(model.feature_names_in_)])
    draws = np.random.default_rng(config.seed).poisson(expected[:, None], (len(future), config.samples))
    samples = pd.DataFrame(
        draws.astype(float), columns=[f"sample_{number}" for number in range(config.samples)], index=future.index
    )
    return pd.concat([future, samples], axis=1)


def validate(config: Config, data: pd.DataFrame) -> list[ValidationDiagnostic]:
    """Says when less than a year is known: there is no season to be learned from that."""
    if PERIOD not in data or data[PERIOD].nunique() >= PERIODS_A_YEAR[kind_of(data[PERIOD])]:
        return []
    message = f"{data[PERIOD].nunique()} periods are less than a year: the season cannot be learned"
    return [ValidationDiagnostic(severity=Severity.WARNING, code="short_history", message=message, field="data")]


def with_season(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with the position of its periods in the year, as a point on a circle."""
    if PERIOD not in frame:
        return frame
    periods = frame[PERIOD].astype(str)
    number = pd.to_numeric(periods.str.extract(r"^\d{4}-W?(\d{1,2})", expand=False), errors="coerce")
    angle = 2 * np.pi * (number - 1) / PERIODS_A_YEAR[kind_of(periods)]
    return frame.drop(columns=PERIOD).assign(season_sin=np.sin(angle), season_cos=np.cos(angle))


def kind_of(periods: pd.Series) -> str:
    return "week" if periods.astype(str).str.contains("W").any() else "month"


runner = FunctionalModelRunner(
    on_train=train,
    on_predict=predict,
    on_validate_train=validate,
    config_schema=Config,
    info=RunnerInfo(
        id="disease",
        display_name="Disease cases from weather",
        version="1.0.0",
        description="Poisson regression on rainfall, temperature, the season and a level for each location.",
        model_metadata=ModelMetadata(
            author="The authors of modelwire",
            author_note="Shows what a service looks like. Do not plan anybody's health with it.",
            author_assessed_status=AssessedStatus.ORANGE,
            contact_email="models@example.org",
            organization="Example",
            organization_logo_url="https://example.org/logo.png",
            citation_info="None needed.",
            repository_url="https://example.org/models/disease",
            documentation_url="https://example.org/models/disease/manual",
        ),
        period_type=PeriodType.MONTHLY,
        min_prediction_periods=1,
        max_prediction_periods=104,
        allow_free_additional_continuous_covariates=True,
    ),
    prediction_columns=["sample_0"],
)
