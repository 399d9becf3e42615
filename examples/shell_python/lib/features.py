"""What the model looks at; training and prediction share it."""

import numpy as np
import pandas as pd


def features(data: pd.DataFrame) -> pd.DataFrame:
    """The weather, the season on a circle, and a column for each location."""
    season = 2 * np.pi * data["time_period"].str[5:7].astype(int) / 12
    weather = data[["rainfall", "mean_temperature"]].assign(sine=np.sin(season), cosine=np.cos(season))
    return weather.join(pd.get_dummies(data["location"], prefix="at", dtype=float))
