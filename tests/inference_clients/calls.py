"""Calls a server with one of the clients that NVIDIA publishes, and prints what comes back as JSON.

    python calls.py grpc|http|grpc.aio|http.aio ADDRESS PLANTS NUMBERS < columns.json

Runs in an environment of its own, without anything of ours. Arrays are printed as their datatype, shape and the bytes of their values.
"""

import asyncio
import importlib
import inspect
import json
import sys
from typing import Any

import numpy as np
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from tritonclient.utils import InferenceServerException, np_to_triton_dtype


class Caller:
    """Any of the clients: waits where there is something to wait for, and makes plain values of answers."""

    def __init__(self, kind: str, address: str) -> None:
        self.kind = kind
        self.module = importlib.import_module(f"tritonclient.{kind}")
        self.client = self.module.InferenceServerClient(address)

    async def ask(self, method: str, *arguments: Any, **options: Any) -> Any:
        answer = getattr(self.client, method)(*arguments, **options)
        answer = await answer if inspect.isawaitable(answer) else answer
        return MessageToDict(answer, preserving_proto_field_name=True) if isinstance(answer, Message) else answer

    async def refusal(self, method: str, *arguments: Any, **options: Any) -> str:
        try:
            await self.ask(method, *arguments, **options)
        except InferenceServerException as error:
            return f"{error.status()}: {error.message()}"
        return "not refused"

    def input(self, name: str, array: "np.ndarray[Any, Any]", **options: Any) -> Any:
        tensor = self.module.InferInput(name, list(array.shape), np_to_triton_dtype(array.dtype))
        tensor.set_data_from_numpy(array, **options)
        return tensor

    def inputs(self, columns: dict[str, "np.ndarray[Any, Any]"], **options: Any) -> list[Any]:
        return [self.input(name, array, **options) for name, array in columns.items()]

    async def infer(self, model: str, inputs: list[Any], names: list[str], **options: Any) -> dict[str, Any]:
        result = await self.ask("infer", model, inputs, **options)
        return {name: printed(result.as_numpy(name)) for name in names}


def printed(array: "np.ndarray[Any, Any]") -> dict[str, Any]:
    if array.dtype == object:  # from JSON they are texts
        values: Any = [value.decode() if isinstance(value, bytes) else value for value in array]
    else:
        values = array.tobytes().hex()
    return {"dtype": str(array.dtype), "shape": list(array.shape), "values": values}


async def main(kind: str, address: str, plants: str, numbers: str) -> None:
    columns = {name: np.array(values, object if name == "soil" else None) for name, values in json.load(sys.stdin).items()}
    matrix = np.column_stack([columns[name].astype(float) for name in ("height", "width", "leaves")])
    caller = Caller(kind, address)
    ask, found = caller.ask, {}
    found["server"] = [await ask("is_server_live"), await ask("is_server_ready"), await ask("get_server_metadata")]
    found["metadata"] = await ask("get_model_metadata", plants)
    found["config"] = await ask("get_model_config", plants, "1")
    found["index"] = await ask("get_model_repository_index")
    found["readiness"] = [await ask("is_model_ready", plants), await ask("is_model_ready", plants, "1")]
    await ask("unload_model", plants)
    found["readiness"].append(await ask("is_model_ready", plants))
    found["index without it"] = await ask("get_model_repository_index")
    await ask("load_model", plants)
    found["readiness"].append(await ask("is_model_ready", plants))
    names = ["chance", "sure", "kind", "leaves"]
    found["columns"] = await caller.infer(plants, caller.inputs(columns), names, request_id="7")
    rows = {name: array.reshape(-1, 1) for name, array in columns.items()}
    found["columns of shape [n, 1]"] = await caller.infer(plants, caller.inputs(rows), names, model_version="1")
    wanted = [caller.module.InferRequestedOutput(name) for name in ("kind", "chance")]
    found["two outputs"] = await caller.infer(plants, caller.inputs(columns), ["kind", "chance"], outputs=wanted)
    found["matrix"] = await caller.infer(numbers, [caller.input("x", matrix)], ["chance_fern", "chance_moss"])
    found["floats"] = await caller.infer(numbers, [caller.input("x", matrix.astype(np.float32))], ["chance_fern", "chance_moss"])
    if kind.startswith("http"):
        text = caller.inputs(columns, binary_data=False)
        wanted = [caller.module.InferRequestedOutput(name, binary_data=False) for name in names]
        found["as JSON"] = await caller.infer(plants, text, names, outputs=wanted)
        for way in ("gzip", "deflate"):
            packed = {"request_compression_algorithm": way, "response_compression_algorithm": way}
            found[way] = await caller.infer(plants, caller.inputs(columns), names, **packed)
    if kind == "grpc":
        found["callback"] = by_callback(caller, plants, columns, names)
        found["stream"] = by_stream(caller, plants, columns, names)
    if kind == "grpc.aio":
        found["stream"] = await by_async_stream(caller, plants, columns, names)
    found["statistics"] = await ask("get_inference_statistics", plants)
    found["refusals"] = {
        "unknown model": await caller.refusal("infer", "resnet50", caller.inputs(columns)),
        "unknown version": await caller.refusal("get_model_metadata", plants, "2"),
        "unknown output": await caller.refusal(
            "infer", plants, caller.inputs(columns), outputs=[caller.module.InferRequestedOutput("size")]
        ),
        "missing column": await caller.refusal("infer", plants, caller.inputs({"height": columns["height"]})),
        "shared memory": await caller.refusal("get_system_shared_memory_status"),
        "traces": await caller.refusal("get_trace_settings"),
    }
    closed = caller.client.close()
    if inspect.isawaitable(closed):
        await closed
    print(json.dumps(found))


def by_callback(caller: Caller, model: str, columns: Any, names: list[str]) -> Any:
    answers: Any = importlib.import_module("queue").SimpleQueue()
    caller.client.async_infer(model, caller.inputs(columns), lambda result, error: answers.put((result, error)))
    result, error = answers.get(timeout=30)
    assert error is None, error
    return {name: printed(result.as_numpy(name)) for name in names}


def by_stream(caller: Caller, model: str, columns: Any, names: list[str]) -> Any:
    answers: Any = importlib.import_module("queue").SimpleQueue()
    caller.client.start_stream(lambda result, error: answers.put((result, error)))
    for number, name in enumerate((model, "resnet50", model)):
        caller.client.async_stream_infer(name, caller.inputs(columns), request_id=str(number))
    found = [told(*answers.get(timeout=30), names) for _ in range(3)]
    caller.client.stop_stream()
    return found


async def by_async_stream(caller: Caller, model: str, columns: Any, names: list[str]) -> Any:
    async def requests() -> Any:
        for number, name in enumerate((model, "resnet50", model)):
            yield {"model_name": name, "inputs": caller.inputs(columns), "request_id": str(number)}

    return [told(result, error, names) async for result, error in caller.client.stream_infer(requests())]


def told(result: Any, error: Any, names: list[str]) -> Any:
    if error is not None:
        return error.message()
    return {"id": result.get_response().id, **{name: printed(result.as_numpy(name)) for name in names}}


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
