"""The OpenAPI document, and the pages that show it."""

import asyncio
import http.client
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from modelwire.v1 import config_service_pb2, predict_service_pb2, runner_service_pb2
from modelwire_server.gateway.alone import forwarding
from modelwire_server.gateway.methods import contract_methods
from modelwire_server.gateway.openapi.comments import comment, first_sentence, meaning, reasons_of
from modelwire_server.gateway.openapi.document import document
from modelwire_server.interceptors.errors import CODES
from modelwire_server.settings import Settings


@pytest.fixture
def described(rest: Any) -> Any:
    rest.model()
    answer = rest.get("/openapi.json")
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    return answer.json


def operations(document: Any) -> Iterator[tuple[str, str, Any]]:
    for path, item in document["paths"].items():
        for verb, operation in item.items():
            yield path, verb, operation


def everything(part: Any) -> Iterator[Any]:
    yield part
    for one in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
        yield from everything(one)


def runner(id: str, schema: dict[str, Any]) -> runner_service_pb2.GetRunnerResponse:
    found = runner_service_pb2.GetRunnerResponse(info=runner_service_pb2.RunnerInfo(id=id, display_name=id.title(), version="2.1"))
    found.config_schema.update(schema)
    return found


def test_it_is_called_what_the_runner_is(rest: Any, described: Any) -> None:
    card = rest.get("/api/v1/info").json
    assert described["openapi"] == "3.1.0"
    assert described["info"]["title"] == card["display_name"]
    assert described["info"]["version"] == card["version"]


def test_whatever_can_be_called_is_in_it(described: Any) -> None:
    served = {(re.sub(r"=[^}]*", "", method.template.text), method.verb.lower()) for method in contract_methods()}
    assert served <= {(path, verb) for path, verb, _ in operations(described)}
    names = [operation["operationId"] for _, _, operation in operations(described)]
    assert len(set(names)) == len(names)


def test_what_no_method_answers_is_in_it_and_there(rest: Any, described: Any) -> None:
    served = {re.sub(r"=[^}]*", "", method.template.text) for method in contract_methods()}
    others = {path for path, verb, _ in operations(described) if verb == "get"} - served
    assert "/health/$stream" in others
    assert {rest.get(f"{path}?model=echo").status for path in others - {"/health/$stream"}} == {200}


def test_every_reference_leads_somewhere(described: Any) -> None:
    references = {part["$ref"] for part in everything(described) if isinstance(part, dict) and isinstance(part.get("$ref"), str)}
    assert references
    for reference in references:
        found = described
        for name in reference.removeprefix("#/").split("/"):
            found = found[name]
        assert found


def test_everything_is_explained(described: Any) -> None:
    for _, _, operation in operations(described):
        assert operation["summary"]
        assert all(parameter["description"] for parameter in operation.get("parameters", ()))
        assert all(response["description"] for response in operation["responses"].values())


def test_the_schema_of_configs_is_in_it(rest: Any, described: Any) -> None:
    own = rest.get("/api/v1/configs/$schema").json
    assert described["components"]["schemas"]["ConfigData"]["properties"].keys() == own["properties"].keys()
    assert described["components"]["schemas"]["CreateConfigRequest"]["properties"]["data"]["anyOf"][0] == {
        "$ref": "#/components/schemas/ConfigData"
    }


LEFT_OUT = ("$link-artifact", "$unlink-artifact", "$upload", "$import", "/$stream", "/$watch", "/$config", "/$rollback")


def test_its_examples_work(rest: Any, described: Any) -> None:
    """Reading and making; what changes or deletes something is told apart, so that each example is of something that is there."""
    tried = 0
    for path, verb, operation in operations(described):
        if verb not in ("get", "post") or path.endswith(LEFT_OUT):
            continue
        for parameter in operation.get("parameters", ()):
            if parameter["in"] == "path":
                path = path.replace("{" + parameter["name"] + "}", parameter["example"])
            elif parameter.get("required"):
                path += f"?{parameter['name']}={parameter['example']}"
        body = operation.get("requestBody", {"content": {}})["content"].get("application/json", {}).get("example")
        answer = rest.ask(verb.upper(), path, body)
        tried += 1
        assert str(answer.status) in operation["responses"], (path, answer.body)
        assert answer.status < 300, (path, answer.body)
    assert tried > 20


def test_errors_are_told_at_the_statuses_that_they_have(described: Any) -> None:
    responses = described["paths"]["/api/v1/configs"]["post"]["responses"]
    assert next(iter(responses)) == "201"
    assert "`ALREADY_EXISTS`" in responses["409"]["description"]
    assert "`RUNNER_NOT_FOUND`" in responses["404"]["description"]
    assert responses["422"]["content"]["application/problem+json"]["schema"] == {"$ref": "#/components/schemas/ValidationProblem"}


def test_configs_of_several_runners_are_of_either_kind() -> None:
    first = runner("first", {"type": "object", "properties": {"a": {"$ref": "#/$defs/A"}}, "$defs": {"A": {"type": "integer"}}})
    both = document(contract_methods(), [first, runner("second", {"type": "object"})], {})
    assert both["info"]["title"] == "First"
    data = both["components"]["schemas"]["UpdateConfigRequest"]["properties"]["data"]
    assert [one["$ref"] for one in data["anyOf"]] == ["#/components/schemas/ConfigData", "#/components/schemas/ConfigData.second"]
    assert both["components"]["schemas"]["ConfigData"]["properties"]["a"] == {"$ref": "#/components/schemas/ConfigData/$defs/A"}


def test_a_server_without_runners_has_a_document_too() -> None:
    assert document(contract_methods(), [], {})["info"]["title"] == "modelwire"


def test_further_fields_are_in_it_where_answers_have_them(limited: Any) -> None:
    schemas = limited.get("/openapi.json").json["components"]["schemas"]
    config = limited.post("/api/v1/configs", {"name": "x", "data": {}}).json
    assert config.keys() == schemas["Config"]["properties"].keys()
    assert "runner_id" in config


@pytest.mark.parametrize("path", ["/docs", "/redoc"])
def test_pages_load_all_from_this_server(rest: Any, path: str) -> None:
    page = rest.get(path)
    assert page.status == 200
    assert "default-src 'none'" in page.headers["content-security-policy"]
    loaded = re.findall(r'(?:src|href)="([^"]+)"', page.body.decode())
    assert {rest.get(f"/{address}").status for address in loaded if not address.startswith("data:")} == {200}
    assert not [address for address in loaded if "//" in address]


async def asked_without_a_server(settings: Settings, path: str) -> tuple[int, str | None]:
    async with forwarding("127.0.0.1:1", settings) as gateway:
        return await asyncio.to_thread(asked, gateway.port, path)


def asked(port: int, path: str) -> tuple[int, str | None]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", path)
    answer = connection.getresponse()
    connection.close()
    return answer.status, answer.getheader("content-type")


@pytest.mark.parametrize("path", ["/openapi.json", "/docs"])
def test_a_page_that_cannot_ask_the_server_says_so(tmp_path: Path, path: str) -> None:
    settings = Settings(http_port=0, data_dir=tmp_path)
    assert asyncio.run(asked_without_a_server(settings, path)) == (503, "application/problem+json")


def test_reasons_are_those_that_comments_name_also_by_other_methods() -> None:
    predict = predict_service_pb2.DESCRIPTOR.services_by_name["PredictService"].methods_by_name
    assert {"MODEL_NOT_FOUND", "STORAGE_FULL"} <= set(reasons_of(predict["SubmitPrediction"]))
    configs = config_service_pb2.DESCRIPTOR.services_by_name["ConfigService"].methods_by_name
    assert {"CONFIG_NOT_FOUND", "INVALID_CONFIG"} <= set(reasons_of(configs["UpdateConfig"]))


def test_every_error_has_a_meaning() -> None:
    assert all(meaning(reason) for reason in CODES)


def test_everything_of_the_contract_has_a_comment() -> None:
    for method in contract_methods():
        assert comment(method.rpc)
        assert all(comment(field) for field in (*method.request.fields, *method.response.fields))


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("Counts. All of them.", "Counts"),
        ("Takes `a.b`. No more.", "Takes `a.b`"),
        ("Nothing else", "Nothing else"),
        ("Is it? `x` is.", "Is it?"),
    ],
)
def test_a_summary_is_the_first_sentence(text: str, first: str) -> None:
    assert first_sentence(text) == first
