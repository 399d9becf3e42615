import math
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from google.protobuf.struct_pb2 import Struct
from hypothesis import given
from hypothesis import strategies as st

from modelwire import InvalidArgument
from modelwire.values import LARGEST_INTEGER, from_struct, from_value, to_struct, to_value
from modelwire_runners import BaseConfig

scalars = (
    st.none()
    | st.booleans()
    | st.integers(-LARGEST_INTEGER, LARGEST_INTEGER)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
)
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abc_"), inner, max_size=4))


@given(st.dictionaries(st.text("abc_"), values))
def test_values_survive_the_wire(data: dict[str, Any]) -> None:
    received = Struct.FromString(to_struct(data, "data").SerializeToString())
    assert from_struct(received) == data


def test_whole_numbers_come_back_as_integers() -> None:
    back = from_struct(to_struct({"n": 3, "x": 3.5, "big": 2**53, "huge": 1e300}, "data"))
    assert {key: type(value) for key, value in back.items()} == {"n": int, "x": float, "big": int, "huge": float}
    assert list(back) == sorted(back)


def test_numpy_and_tuples_are_plain_values() -> None:
    data = {"one": np.float32(0.5), "n": np.int64(7), "many": np.array([1, 2]), "pair": (1, "a"), "yes": np.bool_(True)}
    back = from_struct(to_struct(data, "data"))
    assert back == {"one": 0.5, "n": 7, "many": [1, 2], "pair": [1, "a"], "yes": True}
    assert back["yes"] is True


def test_a_pydantic_model_is_a_mapping() -> None:
    assert from_struct(to_struct(BaseConfig(prediction_periods=5), "data"))["prediction_periods"] == 5


@pytest.mark.parametrize(
    ("data", "field", "words"),
    [
        ({"a": {"b": [1, 2**53 + 1]}}, "data.a.b[1]", "beyond 2^53"),
        ({"a": -(2**60)}, "data.a", "beyond 2^53"),
        ({"a": math.nan}, "data.a", "finite"),
        ({"a": [math.inf]}, "data.a[0]", "finite"),
        ({"a": np.float64("nan")}, "data.a", "finite"),
        ({"a": Decimal(1)}, "data.a", "cannot be sent as JSON: Decimal"),
        ({1: "a"}, "data", "keys must be strings, not 1"),
        ([1], "data", "must be a mapping, not list"),
    ],
)
def test_what_would_change_on_its_way_is_refused(data: Any, field: str, words: str) -> None:
    with pytest.raises(InvalidArgument, match=r".") as caught:
        to_struct(data, "data")
    (violation,) = caught.value.violations
    assert violation.field == field
    assert words in violation.description


@given(values)
def test_any_json_is_a_value(value: Any) -> None:
    assert from_value(to_value(value, "content")) == value
