"""Bodies over HTTP become messages, whatever form the values have, and back; what is no such body is refused."""

import asyncio
import contextlib
import gzip
import json
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from starlette.requests import Request
from tensors import NUMBERS, raw_of

from modelwire_server.gateway.open_inference.refusals import Refused
from modelwire_server.gateway.open_inference.requests import HEADER_LENGTH, Asked, asked_of, body_of
from modelwire_server.gateway.open_inference.responses import predictions
from modelwire_server.gateway.problems import Problem
from modelwire_server.protocols.open_inference.datatypes import DATATYPES
from modelwire_server.protocols.open_inference.v2 import open_inference_pb2 as pb


def asked(document: Any, binary: bytes = b"") -> Asked:
    return asked_of(json.dumps(document).encode(), binary, "M", "1")


def tensor(data: Any, datatype: str = "FP64", shape: Any = None, **more: Any) -> dict[str, Any]:
    return {"name": "x", "datatype": datatype, "shape": shape or [len(data)], "data": data, **more}


def values_of(document: dict[str, Any]) -> Any:
    message = asked({"inputs": [document]}).message
    return np.frombuffer(message.raw_input_contents[0], DATATYPES[document["datatype"]].dtype).tolist()


def test_a_request_is_the_message_that_it_describes() -> None:
    document = {
        "id": "42",
        "parameters": {
            "engine": "runner",
            "prediction_periods": 3,
            "fraction": 0.5,
            "yes": True,
            "nothing": None,
            "large": (1 << 64) - 1,
        },
        "inputs": [{**tensor([1, 2]), "parameters": {"content_type": "np"}}, {**tensor(["å", ""], "BYTES"), "name": "y"}],
        "outputs": [{"name": "z", "parameters": {"binary_data": True, "other": 1}}],
    }
    found = asked(document)
    assert (found.all_binary, found.binary) == (False, {"z": True})
    message = found.message
    assert (message.model_name, message.model_version, message.id) == ("M", "1", "42")
    assert message.parameters["engine"].string_param == "runner"
    assert message.parameters["prediction_periods"].int64_param == 3
    assert message.parameters["fraction"].double_param == 0.5
    assert message.parameters["yes"].bool_param
    assert message.parameters["large"].uint64_param == (1 << 64) - 1
    assert "nothing" not in message.parameters
    assert [(one.name, one.datatype, list(one.shape)) for one in message.inputs] == [("x", "FP64", [2]), ("y", "BYTES", [2])]
    assert message.inputs[0].parameters["content_type"].string_param == "np"
    assert list(message.raw_input_contents) == [np.array([1.0, 2.0]).tobytes(), b"\x02\0\0\0\xc3\xa5\0\0\0\0"]
    assert [one.name for one in message.outputs] == ["z"]
    assert list(message.outputs[0].parameters) == ["other"]


@pytest.mark.parametrize("name", NUMBERS)
def test_numbers_are_of_their_datatype(name: str) -> None:
    sent: list[Any] = [True, False] if name == "BOOL" else [1, 0]
    assert values_of(tensor(sent, name)) == sent


def test_values_may_be_nested_as_the_shape_is() -> None:
    assert values_of(tensor([[1, 2], [3, 4]], shape=[2, 2])) == [1, 2, 3, 4]
    assert values_of(tensor([1, 2, 3, 4], shape=[2, 2])) == [1, 2, 3, 4]
    texts = asked({"inputs": [tensor([["a"], ["b"]], "BYTES", [2, 1])]}).message
    assert texts.raw_input_contents[0] == raw_of(np.array([b"a", b"b"], object))


def test_floats_may_be_missing_or_infinite() -> None:
    for nothing in (None, float("nan")):
        assert np.isnan(values_of(tensor([1.0, nothing]))).tolist() == [False, True]
    assert values_of(tensor([float("inf"), 1e300], "FP32")) == [np.inf, np.inf]


def test_large_numbers_keep_their_digits() -> None:
    assert values_of(tensor([(1 << 64) - 1], "UINT64")) == [(1 << 64) - 1]
    assert values_of(tensor([-(1 << 63)], "INT64")) == [-(1 << 63)]


def test_raw_values_follow_the_json() -> None:
    first, second = np.arange(3.0).tobytes(), raw_of(np.array([b"\xff"], object))
    inputs = [
        {"name": "a", "datatype": "FP64", "shape": [3], "parameters": {"binary_data_size": 24}},
        {**tensor([1.0]), "name": "b"},
        {"name": "c", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": 5}},
    ]
    found = asked({"inputs": inputs, "parameters": {"binary_data_output": True}}, first + second)
    assert found.all_binary
    assert list(found.message.raw_input_contents) == [first, np.ones(1).tobytes(), second]
    assert all(not one.parameters for one in found.message.inputs)


REFUSED: dict[str, tuple[Any, str]] = {
    "no object": ([], "the body must be a JSON object"),
    "no list of inputs": ({"inputs": {}}, "inputs must be a list"),
    "no tensor": ({"inputs": [1]}, "an input must be a JSON object"),
    "no name": ({"inputs": [{**tensor([1]), "name": 1}]}, "name must be a text, not 1"),
    "no shape": ({"inputs": [{**tensor([1]), "shape": None}]}, "tensor 'x' needs a shape"),
    "negative shape": ({"inputs": [tensor([1], shape=[-1])]}, "tensor 'x' needs a shape"),
    "endless shape": ({"inputs": [tensor([], shape=[1 << 63, 0])]}, "the request is no ModelInferRequest"),
    "unknown datatype": ({"inputs": [tensor([1], "FP8")]}, "tensor 'x' has the datatype 'FP8', which is none of BOOL"),
    "no data": ({"inputs": [{**tensor([1]), "data": 1}]}, "tensor 'x' needs a list `data`, or `binary_data_size`"),
    "too few": ({"inputs": [tensor([1], shape=[2])]}, "tensor 'x' has 1 values, but its shape [2] asks for 2"),
    "too few texts": ({"inputs": [tensor(["a"], "BYTES", [2])]}, "tensor 'x' has 1 values"),
    "nested otherwise": (
        {"inputs": [tensor([[1, 2, 3], [4, 5, 6]], shape=[3, 2])]},
        "tensor 'x' has values nested as [2, 3], but its shape",
    ),
    "uneven": ({"inputs": [tensor([[1], [1, 2]], shape=[3])]}, "tensor 'x' has values that are not nested evenly"),
    "texts for numbers": ({"inputs": [tensor(["1"])]}, "tensor 'x' has values that are no FP64"),
    "objects": ({"inputs": [tensor([{}])]}, "tensor 'x' has values that are no FP64"),
    "numbers for texts": ({"inputs": [tensor([1], "BYTES")]}, "tensor 'x' has a value that is no text"),
    "fractions": ({"inputs": [tensor([1.5], "INT64")]}, "tensor 'x' has values that are no INT64"),
    "missing whole number": ({"inputs": [tensor([1, None], "INT64")]}, "tensor 'x' has values that are no INT64"),
    "numbers for truth": ({"inputs": [tensor([1], "BOOL")]}, "tensor 'x' has values that are no BOOL"),
    "beyond": ({"inputs": [tensor([1, 300], "UINT8")]}, "tensor 'x' has the value 300, which is no UINT8: 0 to 255"),
    "below": ({"inputs": [tensor([-1], "UINT64")]}, "tensor 'x' has the value -1, which is no UINT64"),
    "far beyond": ({"inputs": [tensor([1 << 80], "INT64")]}, "tensor 'x' has values that are no INT64"),
    "no such bytes": (
        {"inputs": [{**tensor([]), "parameters": {"binary_data_size": 1}}]},
        "tensor 'x' has the binary_data_size 1, but 0 bytes are left in the body",
    ),
    "no size": ({"inputs": [{**tensor([]), "parameters": {"binary_data_size": True}}]}, "tensor 'x' has the binary_data_size True"),
    "odd parameter": ({"parameters": {"a": []}}, "the parameter 'a' must be a text, a number, true or false"),
    "surrogate": ({"inputs": [tensor(["\ud800"], "BYTES")]}, "the body is no JSON"),
}


@pytest.mark.parametrize(("document", "why"), REFUSED.values(), ids=REFUSED.keys())
def test_what_is_no_request_is_refused(document: Any, why: str) -> None:
    with pytest.raises(Refused) as caught:
        asked(document)
    assert caught.value.message.startswith(why)


def test_bytes_that_belong_to_no_tensor_are_refused() -> None:
    with pytest.raises(Refused, match="3 bytes follow after the values of all tensors"):
        asked({"inputs": [tensor([1])]}, b"abc")


@given(
    text=st.binary(max_size=50)
    | st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.sampled_from(sorted(DATATYPES)),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["inputs", "outputs", "name", "datatype", "shape", "data", "parameters", "binary_data_size", "id"]),
                inner,
            )
        ),
    ).map(lambda value: json.dumps(value).encode()),
    binary=st.binary(max_size=9),
)
@example(text=b'{"inputs": ' + b"[" * 100_000, binary=b"")
@example(text=b'{"inputs": [NaN' + b"[" * 100_000, binary=b"")
def test_no_body_is_more_than_refused(text: bytes, binary: bytes) -> None:
    with contextlib.suppress(Refused):
        assert asked_of(text, binary, "M", "").message.model_name == "M"


def request(body: bytes, **headers: str) -> Request:
    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    listed = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "method": "POST", "headers": listed}, receive)


def body(sent: Request, *, most_json: int = 100, most_tensors: int = 1000) -> tuple[bytes, bytes]:
    return asyncio.run(body_of(sent, most_json=most_json, most_tensors=most_tensors))


def test_a_header_says_where_the_values_begin() -> None:
    assert HEADER_LENGTH == "inference-header-content-length"
    assert body(request(b"{}abc", inference_header_content_length="2")) == (b"{}", b"abc")
    assert body(request(b"{}abc")) == (b"{}abc", b"")
    for length in ("6", "-1", "2.0", ""):
        with pytest.raises(Refused, match="but the body has 5 bytes"):
            body(request(b"{}abc", inference_header_content_length=length))


@pytest.mark.parametrize(("name", "compress"), [("gzip", gzip.compress), ("deflate", zlib.compress)])
def test_bodies_may_be_compressed(name: str, compress: Any) -> None:
    content = b"{}" + b"\0" * 500
    sent = request(compress(content), content_encoding=name, inference_header_content_length="2")
    assert body(sent) == (b"{}", b"\0" * 500)
    with pytest.raises(Problem) as caught:
        body(request(compress(bytes(10_000)), content_encoding=name, inference_header_content_length="2"))
    assert caught.value.status == 413
    with pytest.raises(Refused, match="ends before the end of its compressed content"):
        body(request(compress(content)[:-1], content_encoding=name, inference_header_content_length="2"))
    with pytest.raises(Refused, match="cannot be decompressed"):
        body(request(b"{}", content_encoding=name))


def test_other_encodings_are_refused() -> None:
    with pytest.raises(Refused, match="a body cannot be encoded as br") as caught:
        body(request(b"{}", content_encoding="br"))
    assert caught.value.status == 415


def test_json_and_tensors_have_limits_of_their_own() -> None:
    large = b"x" * 101
    assert body(request(b"{}" + large, inference_header_content_length="2"))[1] == large
    for sent in (request(large), request(large, inference_header_content_length="101")):
        with pytest.raises(Problem) as caught:
            body(sent)
        assert caught.value.status == 413
    with pytest.raises(Problem):
        body(request(b"x" * 1001, inference_header_content_length="2"))


def answer(**columns: Any) -> pb.ModelInferResponse:
    message = pb.ModelInferResponse(model_name="M", model_version="1", id="7")
    message.parameters["engine"].string_param = "runner"
    for name, (datatype, array) in columns.items():
        message.outputs.add(name=name, datatype=datatype, shape=array.shape)
        message.raw_output_contents.append(raw_of(array))
    return message


def test_predictions_are_json_unless_binary_is_asked_for() -> None:
    columns = {
        "a": ("FP64", np.array([[1.5, np.nan], [np.inf, 0]])),
        "b": ("BOOL", np.array([True, False])),
        "c": ("BYTES", np.array(["å".encode(), b""], object)),
        "d": ("UINT64", np.array([(1 << 64) - 1], "<u8")),
        "e": ("FP16", np.array([0.5], "<f2")),
    }
    response = predictions(answer(**columns), Asked(pb.ModelInferRequest(), {}, False))
    assert HEADER_LENGTH not in response.headers
    found = json.loads(response.body)
    assert {key: found[key] for key in ("model_name", "model_version", "id", "parameters")} == {
        "model_name": "M",
        "model_version": "1",
        "id": "7",
        "parameters": {"engine": "runner"},
    }
    assert [one["data"] for one in found["outputs"]] == [[1.5, None, None, 0], [True, False], ["å", ""], [(1 << 64) - 1], [0.5]]
    assert found["outputs"][0]["shape"] == [2, 2]


def test_some_outputs_may_be_binary() -> None:
    columns = {"a": ("FP64", np.ones(1)), "b": ("INT8", np.ones(2, "i1")), "c": ("BYTES", np.array([b"\xff"], object))}
    response = predictions(answer(**columns), Asked(pb.ModelInferRequest(), {"b": False}, True))
    length = int(response.headers[HEADER_LENGTH])
    header, content = json.loads(response.body[:length]), bytes(response.body[length:])
    assert [one.get("parameters") for one in header["outputs"]] == [{"binary_data_size": 8}, None, {"binary_data_size": 5}]
    assert header["outputs"][1]["data"] == [1, 1]
    assert content == np.ones(1).tobytes() + b"\1\0\0\0\xff"


def test_bytes_that_are_no_text_need_binary() -> None:
    with pytest.raises(Refused, match="the output 'a' holds bytes that are no text: ask for it as binary data"):
        predictions(answer(a=("BYTES", np.array([b"\xff"], object))), Asked(pb.ModelInferRequest(), {}, False))
