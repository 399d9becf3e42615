"""The Open Inference Protocol below /v2, and over gRPC, against a model that a job has trained."""

import json
import os
import threading
from collections.abc import Iterator
from typing import Any

import grpc
import numpy as np
import pyarrow as pa
import pytest

from modelwire import Client
from modelwire_server.protocols.open_inference.v2 import open_inference_pb2 as pb
from modelwire_server.protocols.open_inference.v2.open_inference_pb2_grpc import GRPCInferenceServiceStub

HEADER_LENGTH = "inference-header-content-length"


@pytest.fixture(scope="module")
def model(both: Any) -> str:
    """A model that doubles x."""
    return str(both["inside"].model())


@pytest.fixture
def stub(both: Any) -> Iterator[Any]:
    with grpc.insecure_channel(f"127.0.0.1:{both['inside'].grpc_port}") as channel:
        yield GRPCInferenceServiceStub(channel)


def tensor(name: str, *values: Any, datatype: str = "INT64") -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": [len(values)], "data": list(values)}


def refused(answer: Any, status: int) -> str:
    assert answer.status == status, answer.body
    assert answer.headers["content-type"] == "application/json"
    assert list(answer.json) == ["error"]
    return str(answer.json["error"])


def test_the_server_tells_what_it_is(rest: Any) -> None:
    for path in ("/v2", "/v2/"):
        told = rest.get(path).json
        assert told["name"] == "modelwire"
        assert {"binary_tensor_data", "model_repository"} <= set(told["extensions"])
    assert rest.get("/v2/health/live").json == {"live": True}
    assert rest.get("/v2/health/ready").json == {"ready": True}


@pytest.mark.parametrize("version", ["", "/versions/1"])
def test_a_model_tells_what_it_is(rest: Any, model: str, version: str) -> None:
    path = f"/v2/models/{model}{version}"
    assert rest.get(f"{path}/ready").json == {"name": model, "ready": True}
    told = rest.get(path).json
    assert (told["name"], told["versions"], told["platform"]) == (model, ["1"], "modelwire/patient")
    assert told["inputs"] == [{"name": "x", "datatype": "INT64", "shape": [-1]}]
    config = rest.get(f"{path}/config").json
    assert config["input"] == [{"name": "x", "data_type": "TYPE_INT64", "dims": [-1]}]
    assert config["max_batch_size"] == 0


@pytest.mark.parametrize("version", ["", "/versions/1"])
def test_json_is_answered_in_json(rest: Any, model: str, version: str) -> None:
    answer = rest.post(
        f"/v2/models/{model}{version}/infer", {"id": "42", "inputs": [tensor("x", 1, 2), tensor("n", 0.5, 1, datatype="FP32")]}
    )
    assert answer.status == 200, answer.body
    told = answer.json
    assert (told["id"], told["model_name"], told["model_version"], told["parameters"]) == ("42", model, "1", {"engine": "runner"})
    assert told["outputs"] == [
        {"name": "x", "datatype": "INT64", "shape": [2], "data": [1, 2]},
        {"name": "n", "datatype": "FP32", "shape": [2], "data": [0.5, 1]},
        {"name": "sample_0", "datatype": "INT64", "shape": [2], "data": [2, 4]},
    ]


def test_one_tensor_holds_all_columns(rest: Any, model: str) -> None:
    one = {"name": "any", "datatype": "INT64", "shape": [2, 1], "data": [[3], [4]]}
    answer = rest.post(f"/v2/models/{model}/infer", {"inputs": [one], "outputs": [{"name": "sample_0"}]})
    assert [output["data"] for output in answer.json["outputs"]] == [[6, 8]]


def test_raw_values_are_answered_raw_where_that_is_wanted(rest: Any, model: str) -> None:
    values = np.array([5, 6, 7])
    inputs = [{"name": "x", "datatype": "INT64", "shape": [3], "parameters": {"binary_data_size": 24}}]
    header = json.dumps({"inputs": inputs, "parameters": {"binary_data_output": True}}).encode()
    answer = rest.post(f"/v2/models/{model}/infer", header + values.tobytes(), **{HEADER_LENGTH: str(len(header))})
    assert answer.status == 200, answer.body
    length = int(answer.headers[HEADER_LENGTH])
    assert [one["parameters"] for one in json.loads(answer.body[:length])["outputs"]] == [{"binary_data_size": 24}] * 2
    assert answer.body[length:] == values.tobytes() + (2 * values).tobytes()


def test_the_answer_is_that_of_our_own_contract(rest: Any, model: str, stub: Any) -> None:
    """To the bit, whatever the bits are."""
    numbers = np.frombuffer(np.random.default_rng(7).bytes(8 * 500), "<i8")
    with Client(f"127.0.0.1:{rest.grpc_port}") as client:
        own: Any = pa.table(client.models.get(model).predict(pa.table({"x": numbers})))
    expected = own.column("sample_0").to_numpy().tobytes()
    request = pb.ModelInferRequest(model_name=model, raw_input_contents=[numbers.tobytes()])
    request.inputs.add(name="x", datatype="INT64", shape=[500])
    assert stub.ModelInfer(request).raw_output_contents[1] == expected
    answer = rest.post(f"/v2/models/{model}/infer", {"inputs": [tensor("x", *numbers.tolist())]})
    assert np.array(answer.json["outputs"][1]["data"]).tobytes() == expected


def test_typed_values_are_answered_in_kind(stub: Any, model: str) -> None:
    request = pb.ModelInferRequest(model_name=model, id="a")
    request.inputs.add(name="x", datatype="INT64", shape=[2]).contents.int64_contents.extend([1, 2])
    answer = stub.ModelInfer(request)
    assert not answer.raw_output_contents
    assert list(answer.outputs[1].contents.int64_contents) == [2, 4]
    assert (answer.id, answer.model_version, answer.parameters["engine"].string_param) == ("a", "1", "runner")
    request.parameters["binary_data_output"].bool_param = True
    assert np.frombuffer(stub.ModelInfer(request).raw_output_contents[1], "<i8").tolist() == [2, 4]


def test_a_large_request_is_answered_as_a_small_one(rest: Any, model: str) -> None:
    numbers = list(range(100_000))
    answer = rest.post(f"/v2/models/{model}/infer", {"inputs": [tensor("x", *numbers)]})
    assert answer.json["outputs"][1]["data"] == [2 * number for number in numbers]


def test_models_are_dropped_and_loaded(both: Any, rest: Any) -> None:
    model = both["inside"].model(factor=3)
    ready = f"/v2/models/{model}/ready"
    assert state_of(rest, model) == ("READY", "")
    assert rest.post(f"/v2/repository/models/{model}/unload", {"parameters": {"unload_dependents": False}}).status == 200
    assert state_of(rest, model) == ("UNAVAILABLE", "unloaded")
    assert rest.get(ready).status == 503
    assert model not in [one["name"] for one in rest.post("/v2/repository/index", {"ready": True}).json]
    assert rest.post(f"/v2/repository/models/{model}/load", b"").status == 200
    assert state_of(rest, model) == ("READY", "")
    rest.post(f"/v2/repository/models/{model}/unload")
    assert rest.post(f"/v2/models/{model}/infer", {"inputs": [tensor("x", 1)]}).json["outputs"][1]["data"] == [3]
    assert rest.get(ready).status == 200


def state_of(rest: Any, model: str) -> tuple[str, str]:
    (found,) = [one for one in rest.post("/v2/repository/index").json if one["name"] == model]
    assert found["version"] == "1"
    return found["state"], found["reason"]


def test_requests_are_counted(both: Any, rest: Any) -> None:
    model = both["inside"].model()
    before = rest.get(f"/v2/models/{model}/stats").json["model_stats"][0]
    assert (before["inference_count"], before["execution_count"]) == (0, 0)
    rest.post(f"/v2/models/{model}/infer", {"inputs": [tensor("x", 1, 2, 3)]})
    assert rest.post(f"/v2/models/{model}/infer", {"inputs": []}).status == 400
    (counted,) = rest.get(f"/v2/models/{model}/versions/1/stats").json["model_stats"]
    assert (counted["inference_count"], counted["execution_count"]) == (3, 1)
    spent = counted["inference_stats"]
    assert (spent["success"]["count"], spent["fail"]["count"]) == (1, 1)
    assert spent["success"]["ns"] >= spent["compute_infer"]["ns"] > 0
    assert counted in rest.get("/v2/models/stats").json["model_stats"]


NOBODY = "01ARZ3NDEKTSV4RRFFQ69G5FAV"


@pytest.mark.parametrize("name", [NOBODY, "resnet50", "a/b"])
def test_models_that_are_not_there_are_not_found(rest: Any, name: str) -> None:
    for path in (f"/v2/models/{name}", f"/v2/models/{name}/ready", f"/v2/models/{name}/config", f"/v2/models/{name}/stats"):
        assert name in refused(rest.get(path), 404)
    for path in (f"/v2/models/{name}/infer", f"/v2/repository/models/{name}/load", f"/v2/repository/models/{name}/unload"):
        assert name in refused(rest.post(path, {"inputs": [tensor("x", 1)]}), 404)


def test_there_is_one_version(rest: Any, model: str) -> None:
    assert "has no version '2', only 1" in refused(rest.get(f"/v2/models/{model}/versions/2/ready"), 404)


def test_what_is_no_model_is_told(both: Any, rest: Any) -> None:
    made = both["inside"].post("/api/v1/artifacts", {"data": {"type": "generic", "content": 1}}).json["id"]
    assert "is not a training artifact" in refused(rest.get(f"/v2/models/{made}"), 400)


def test_mistakes_are_told_by_the_name_of_the_tensor(rest: Any, model: str) -> None:
    path = f"/v2/models/{model}/infer"
    assert refused(rest.post(path, b"{"), 400).startswith("the body is no JSON")
    assert "tensor 'x' has 1 values" in refused(rest.post(path, {"inputs": [{**tensor("x", 1), "shape": [2]}]}), 400)
    assert "tensor 'y' has 1 rows, but 'x' has 2" in refused(rest.post(path, {"inputs": [tensor("x", 1, 2), tensor("y", 1)]}), 400)
    assert "lacks the columns x" in refused(rest.post(path, {"inputs": [tensor("y", 1)]}), 400)
    assert "there is no output 'z'" in refused(rest.post(path, {"inputs": [tensor("x", 1)], "outputs": [{"name": "z"}]}), 400)
    shared = {"name": "x", "datatype": "INT64", "shape": [1], "parameters": {"shared_memory_region": "r"}}
    assert "shares no memory" in refused(rest.post(path, {"inputs": [shared]}), 400)


def test_parameters_are_heeded(rest: Any, model: str) -> None:
    path = f"/v2/models/{model}/infer"
    as_floats = [tensor("x", 1.5, datatype="FP64")]
    strict = {"inputs": as_floats, "parameters": {"schema_policy": "strict"}}
    assert "'x' was int64 in the training and is double here" in refused(rest.post(path, strict), 400)
    answer = rest.post(path, {"inputs": as_floats, "parameters": {"schema_policy": "safe"}})
    assert answer.json["outputs"][1]["data"] == [3.0]
    for name, value, why in (
        ("schema_policy", "none", "parameters.schema_policy: is 'none', none of strict, safe, off"),
        ("engine", 1, "parameters.engine: must be of type str, not int"),
        ("sequence_id", 7, "parameters.sequence_id: cannot be given"),
    ):
        assert refused(rest.post(path, {"inputs": [tensor("x", 1)], "parameters": {name: value}}), 400).startswith(why)
    assert "prediction_periods" in refused(
        rest.post(path, {"inputs": [tensor("x", 1)], "parameters": {"prediction_periods": 9999}}), 400
    )


def test_a_prediction_may_have_a_timeout(both: Any, rest: Any) -> None:
    model, pipe = both["inside"].model(), rest.pipe()
    inputs = [tensor("x", 1), tensor("pipe", str(pipe), datatype="BYTES")]
    answer = rest.post(f"/v2/models/{model}/infer", {"inputs": inputs, "parameters": {"timeout": 50_000}})
    assert refused(answer, 504)
    # Nobody reads from it if the time was over before the model was called; then a pipe that is opened for reading too does not wait.
    release = os.open(pipe, os.O_RDWR)
    os.write(release, b"go on")
    os.close(release)


def test_what_other_servers_have_is_refused_in_a_sentence(rest: Any, stub: Any) -> None:
    assert "shares no memory" in refused(rest.get("/v2/systemsharedmemory/status"), 501)
    assert "/metrics" in refused(rest.get("/v2/models/x/trace/setting"), 501)
    assert "--log-level" in refused(rest.post("/v2/logging", {}), 501)
    assert refused(rest.post("/v2/health/live"), 404) == "there is no POST /v2/health/live"
    assert refused(rest.get("/v2/nothing"), 404) == "there is no GET /v2/nothing"


def test_loading_takes_neither_configuration_nor_files(rest: Any, stub: Any, model: str) -> None:
    assert "neither a configuration nor files" in refused(
        rest.post(f"/v2/repository/models/{model}/load", {"parameters": {"config": "{}"}}), 400
    )
    request = pb.RepositoryModelLoadRequest(model_name=model)
    request.parameters["config"].string_param = "{}"
    with pytest.raises(grpc.RpcError) as caught:
        stub.RepositoryModelLoad(request)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


def test_a_stream_answers_in_order_and_goes_on_after_mistakes(stub: Any, model: str) -> None:
    def requests() -> Iterator[pb.ModelInferRequest]:
        for number in range(100):
            request = pb.ModelInferRequest(model_name=model if number % 10 else NOBODY, id=str(number))
            request.inputs.add(name="x", datatype="INT64", shape=[1]).contents.int64_contents.append(number)
            request.parameters["triton_enable_empty_final_response"].bool_param = number == 1
            yield request

    answers = list(stub.ModelStreamInfer(requests()))
    assert [answer.infer_response.id for answer in answers] == [str(number) for number in range(100)]
    for number, answer in enumerate(answers):
        if number % 10:
            assert list(answer.infer_response.outputs[1].contents.int64_contents) == [2 * number]
        else:
            assert NOBODY in answer.error_message
    assert answers[1].infer_response.parameters["triton_final_response"].bool_param
    assert "triton_final_response" not in answers[2].infer_response.parameters


def test_a_stream_that_is_left_leaves_nothing_behind(both: Any, stub: Any, model: str) -> None:
    rest, pipe, sent = both["inside"], both["inside"].pipe(), threading.Event()

    def requests() -> Iterator[pb.ModelInferRequest]:
        request = pb.ModelInferRequest(model_name=model)
        request.inputs.add(name="x", datatype="INT64", shape=[1]).contents.int64_contents.append(1)
        request.inputs.add(name="pipe", datatype="BYTES", shape=[1]).contents.bytes_contents.append(str(pipe).encode())
        yield request
        sent.wait()

    call = stub.ModelStreamInfer(requests())
    with pipe.open("w") as release:  # the model is reading from it
        call.cancel()
        release.write("go on")
    sent.set()
    with pytest.raises(grpc.RpcError):
        next(call)
    answer = rest.post(f"/v2/models/{model}/infer", {"inputs": [tensor("x", 1)]})
    assert answer.status == 200


def test_bodies_have_limits(limited: Any) -> None:
    model = limited.model()
    assert "65,536 bytes" in refused(limited.post(f"/v2/models/{model}/infer", b" " * 70_000), 413)
    values = np.zeros(20_000, "<i8")
    inputs = [{"name": "x", "datatype": "INT64", "shape": [20_000], "parameters": {"binary_data_size": values.nbytes}}]
    header = json.dumps({"inputs": inputs}).encode()
    answer = limited.post(f"/v2/models/{model}/infer", header + values.tobytes(), **{HEADER_LENGTH: str(len(header))})
    assert answer.status == 200


def test_models_are_known_by_their_names(both: Any, rest: Any) -> None:
    name, first, second = f"plants-{rest.port}", both["inside"].model(), both["inside"].model(factor=5)
    for model in (first, second):
        assert rest.post(f"/api/v1/models/{name}/versions", {"artifact_id": model}).status == 201
    assert rest.post(f"/api/v1/models/{name}/$promote", {"version": 1, "alias": "production"}).status == 200
    body = {"inputs": [tensor("x", 1)]}
    for path, version, expected in (
        ("", "1", 2),
        ("/versions/1", "1", 2),
        ("/versions/2", "2", 5),
        ("/versions/production", "1", 2),
    ):
        answer = rest.post(f"/v2/models/{name}{path}/infer", body)
        assert answer.status == 200, answer.body
        assert (answer.json["model_name"], answer.json["model_version"]) == (name, version)
        assert answer.json["outputs"][1]["data"] == [expected]
        assert rest.get(f"/v2/models/{name}{path}/ready").status == 200
        assert rest.get(f"/v2/models/{name}{path}").json["versions"] == [version]
    assert name in refused(rest.get(f"/v2/models/{name}/versions/3"), 404)
    listed = rest.post("/v2/repository/index").json
    assert [one["version"] for one in listed if one["name"] == name] == ["2", "1"]
    assert rest.post(f"/v2/repository/models/{name}/unload").status == 200
    listed = rest.post("/v2/repository/index").json
    assert [one["state"] for one in listed if one["name"] == name] == ["READY", "UNAVAILABLE"]
