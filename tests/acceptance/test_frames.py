"""Frames survive the way from a client through the server and back; what is no frame is refused."""

import grpc
import psutil
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from serving import ServerProcess

from modelwire import Client, InvalidArgument
from modelwire.v1 import frame_pb2, predict_service_pb2
from modelwire.v1.predict_service_pb2_grpc import PredictServiceStub

TYPES = {
    pa.int8(): st.integers(-128, 127),
    pa.int64(): st.integers(-(2**63), 2**63 - 1),
    pa.uint64(): st.integers(0, 2**64 - 1),
    pa.float32(): st.floats(width=32),
    pa.float64(): st.floats(),
    pa.bool_(): st.booleans(),
    pa.string(): st.text(max_size=8),
    pa.large_string(): st.text(max_size=8),
    pa.string_view(): st.text(max_size=20),
    pa.binary(): st.binary(max_size=8),
    pa.date32(): st.dates(),
    pa.timestamp("us", "Europe/Berlin"): st.integers(-(2**50), 2**50),
    pa.duration("ns"): st.integers(-(2**60), 2**60),
    pa.decimal128(20, 3): st.decimals(-(10**9), 10**9, places=3),
    pa.list_(pa.int32()): st.lists(st.integers(-9, 9), max_size=3),
    pa.struct({"a": pa.int64(), "b": pa.string()}): st.fixed_dictionaries({"a": st.integers(-9, 9), "b": st.text(max_size=3)}),
    pa.dictionary(pa.int16(), pa.string()): st.sampled_from(["low", "mid", "high", "höher"]),
    pa.null(): st.none(),
}


@st.composite
def tables(draw: st.DrawFn) -> pa.Table:
    """Tables of any types, names, nulls and sizes, nothing and no columns included."""
    rows = draw(st.integers(0, 6))
    names = draw(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8), unique=True, max_size=5))
    fields, arrays = [], []
    for name in names:
        kind = draw(st.sampled_from(list(TYPES)))
        values = draw(st.lists(st.none() | TYPES[kind], min_size=rows, max_size=rows))
        arrays.append(pa.array(values, pa.int64()).cast(kind) if pa.types.is_timestamp(kind) else pa.array(values, kind))
        fields.append(pa.field(name, kind))
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields))


def contents(table: pa.Table) -> object:
    """All of a table, such that equal means bit for bit: of floats the bits, since no two NaN are equal."""
    return table.schema, [[column.is_null().to_pylist(), values(column)] for column in table.columns]


def values(column: pa.ChunkedArray) -> object:
    if pa.types.is_floating(column.type):
        return column.drop_null().to_numpy().tobytes()
    return repr(column.to_pylist())


@pytest.fixture(scope="module")
def model(server: ServerProcess) -> str:
    with Client(server.target) as client:
        config = client.configs.create("echo", {}, runner="behaviours")
        # Longer than the names of tables(): a column of this name would have to be of its type.
        return client.train(config, {"trained on": [1]}).wait(timeout=30).id


@settings(max_examples=1000, deadline=None, suppress_health_check=list(HealthCheck))
@given(table=tables())
@pytest.mark.timeout(600)
def test_a_frame_comes_back_bit_for_bit_from_a_prediction(client: Client, model: str, table: pa.Table) -> None:
    assert contents(client.predict(model, table)) == contents(table)


@settings(max_examples=1000, deadline=None, suppress_health_check=list(HealthCheck))
@given(table=tables())
@pytest.mark.timeout(600)
def test_a_frame_comes_back_bit_for_bit_from_the_store(client: Client, table: pa.Table) -> None:
    assert contents(client.datasets.upload(table).frame()) == contents(table)


@pytest.mark.timeout(600)
def test_random_bytes_are_refused_and_cost_nothing(server: ServerProcess, client: Client, model: str) -> None:
    @settings(max_examples=1000, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(content=st.binary(max_size=2000))
    def refused(content: bytes) -> None:
        request = predict_service_pb2.PredictRequest(model=model, future=frame_pb2.Frame(arrow=content))
        with pytest.raises(grpc.RpcError) as error:
            stub.Predict(request)
        assert error.value.code() is grpc.StatusCode.INVALID_ARGUMENT

    process = psutil.Process(server.process.pid)
    before = process.memory_info().rss
    with grpc.insecure_channel(server.target) as channel:
        stub = PredictServiceStub(channel)
        refused()
    assert process.memory_info().rss - before < 50 << 20
    assert client.health()


def test_duplicate_column_names_are_refused(client: Client, model: str) -> None:
    table = pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=["a", "a"])
    with pytest.raises(InvalidArgument, match="a"):
        client.predict(model, table)
