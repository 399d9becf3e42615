"""ConfigService over the wire."""

import json
from typing import Any

import grpc
import pytest
from google.protobuf.struct_pb2 import Struct
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from modelwire.v1 import config_service_pb2 as pb
from modelwire_server.clock import new_id


def struct(**values: Any) -> Struct:
    made = Struct()
    made.update(values)
    return made


def test_a_config_from_create_to_delete(run: Any, refusal: Any) -> None:
    async def scenario(edge: Any) -> None:
        data = struct(factor=3, nested={"list": [1, 2.5, None, True]})
        made = (await edge.configs.CreateConfig(pb.CreateConfigRequest(name="v1", data=data, tags=["a"]))).config
        assert dict(made.data)["factor"] == 3
        assert made.runner_id == "times"
        stored = await edge.domain.configs.get(made.id)
        assert stored.data["nested"] == {"list": [1, 2.5, None, True]}
        assert [type(value) for value in stored.data["nested"]["list"]] == [int, float, type(None), bool]
        read = (await edge.configs.GetConfig(pb.GetConfigRequest(config_id=made.id.lower()))).config
        assert read == made
        change = pb.UpdateConfigRequest(config_id=made.id, name="v2", data=struct(factor=4))
        changed = (await edge.configs.UpdateConfig(change)).config
        assert (changed.name, changed.data["factor"], list(changed.tags)) == ("v2", 4, ["a"])
        assert changed.created_at == made.created_at
        assert (await edge.configs.GetConfigStats(pb.GetConfigStatsRequest())).total == 1
        await edge.configs.DeleteConfig(pb.DeleteConfigRequest(config_id=made.id))
        gone = await refusal(edge.configs.GetConfig(pb.GetConfigRequest(config_id=made.id)))
        assert (gone.code, gone.reason) == ("NOT_FOUND", "CONFIG_NOT_FOUND")

    run(scenario)


def test_lists_come_in_pages(run: Any, refusal: Any) -> None:
    async def scenario(edge: Any) -> None:
        made = [await edge.config() for _ in range(5)]
        first = await edge.configs.ListConfigs(pb.ListConfigsRequest(page_size=3))
        assert ([config.id for config in first.configs], first.total_size) == (made[:3], 5)
        second = await edge.configs.ListConfigs(pb.ListConfigsRequest(page_size=3, page_token=first.next_page_token))
        assert ([config.id for config in second.configs], second.next_page_token) == (made[3:], "")
        wrong = await refusal(edge.configs.ListConfigs(pb.ListConfigsRequest(page_size=-1)))
        assert (wrong.reason, wrong.fields) == ("INVALID_FIELD", ["page_size"])
        wrong = await refusal(edge.configs.ListConfigs(pb.ListConfigsRequest(page_token="ä")))
        assert wrong.fields == ["page_token"]

    run(scenario)


@pytest.mark.parametrize(
    ("request_", "reason", "fields"),
    [
        (pb.CreateConfigRequest(name="x", id="nonsense"), "INVALID_ID", ["id"]),
        (pb.CreateConfigRequest(name="x", request_id="r" * 101), "INVALID_FIELD", ["request_id"]),
        (pb.CreateConfigRequest(name="x", id="no", request_id="r" * 101), "INVALID_FIELD", ["id", "request_id"]),
        (pb.CreateConfigRequest(name="", tags=["a b"]), "INVALID_FIELD", ["name", "tags[0]"]),
        (pb.CreateConfigRequest(name="a\0b"), "INVALID_FIELD", ["name"]),
        (pb.CreateConfigRequest(name="x", data=struct(factor="many")), "INVALID_CONFIG", ["data.factor"]),
        (pb.CreateConfigRequest(name="x", data=struct(deep={"list": [float("nan")]})), "INVALID_FIELD", ["data.deep.list[0]"]),
        (pb.CreateConfigRequest(name="x", runner_id="nobody"), "RUNNER_NOT_FOUND", []),
    ],
)
def test_what_cannot_be_stored(run: Any, refusal: Any, request_: Any, reason: str, fields: list[str]) -> None:
    async def scenario(edge: Any) -> None:
        found = await refusal(edge.configs.CreateConfig(request_))
        assert (found.reason, found.fields) == (reason, fields)

    run(scenario)


def test_too_much_nesting_is_refused(run: Any, refusal: Any) -> None:
    def nested(depth: int) -> Any:
        return {"a": nested(depth - 1)} if depth else 1

    async def scenario(edge: Any) -> None:
        await edge.configs.CreateConfig(pb.CreateConfigRequest(name="x", data=struct(a=nested(20))))
        for depth in (25, 30):
            found = await refusal(edge.configs.CreateConfig(pb.CreateConfigRequest(name="x", data=struct(a=nested(depth)))))
            assert (found.code, found.reason) == ("INVALID_ARGUMENT", "INVALID_FIELD")

    run(scenario)


def test_the_same_request_id_gives_the_same_answer(run: Any, refusal: Any) -> None:
    async def scenario(edge: Any) -> None:
        request = pb.CreateConfigRequest(name="x", request_id="once")
        first, second = await edge.configs.CreateConfig(request), await edge.configs.CreateConfig(request)
        assert first == second
        other = await refusal(edge.configs.CreateConfig(pb.CreateConfigRequest(name="y", request_id="once")))
        assert (other.code, other.reason) == ("INVALID_ARGUMENT", "REQUEST_ID_REUSED")

    run(scenario)


def test_update_needs_data(run: Any, refusal: Any) -> None:
    async def scenario(edge: Any) -> None:
        found = await refusal(edge.configs.UpdateConfig(pb.UpdateConfigRequest(config_id=await edge.config(), name="x")))
        assert found.fields == ["data"]

    run(scenario)


def test_links(run: Any, refusal: Any) -> None:
    async def scenario(edge: Any) -> None:
        link = {"config_id": await edge.config(), "artifact_id": await edge.model()}
        await edge.configs.LinkArtifact(pb.LinkArtifactRequest(**link))
        linked = await edge.configs.ListConfigArtifacts(pb.ListConfigArtifactsRequest(config_id=link["config_id"]))
        assert [artifact.id for artifact in linked.artifacts] == [link["artifact_id"]]
        again = await refusal(edge.configs.LinkArtifact(pb.LinkArtifactRequest(**link)))
        assert (again.code, again.reason) == ("ALREADY_EXISTS", "ALREADY_LINKED")
        await edge.configs.UnlinkArtifact(pb.UnlinkArtifactRequest(**link))
        assert (await refusal(edge.configs.UnlinkArtifact(pb.UnlinkArtifactRequest(**link)))).reason == "NOT_LINKED"
        both = await refusal(edge.configs.LinkArtifact(pb.LinkArtifactRequest(config_id="a", artifact_id="b")))
        assert (both.reason, both.fields) == ("INVALID_ID", ["config_id", "artifact_id"])

    run(scenario)


def test_the_schema_of_a_runner(run: Any, refusal: Any) -> None:
    async def scenario(edge: Any) -> None:
        schema = (await edge.configs.GetConfigSchema(pb.GetConfigSchemaRequest())).schema
        assert schema["properties"]["factor"]["default"] == 2
        found = await refusal(edge.configs.GetConfigSchema(pb.GetConfigSchemaRequest(runner_id=new_id())))
        assert found.reason == "RUNNER_NOT_FOUND"

    run(scenario)


def test_integers_of_any_size_stay_exact_as_text(run: Any) -> None:
    async def scenario(edge: Any) -> None:
        data = {"factor": 2**53 + 1, "more": [{"seed": -(2**70)}], "float": 1.5}
        made = (await edge.configs.CreateConfig(pb.CreateConfigRequest(name="x", data_json=json.dumps(data)))).config
        assert json.loads(made.data_json) == {"prediction_periods": 3, "additional_continuous_covariates": [], **data}
        assert made.data["factor"] == str(2**53 + 1)
        assert (await edge.domain.configs.get(made.id)).data["more"] == [{"seed": -(2**70)}]
        change = pb.UpdateConfigRequest(config_id=made.id, name="x", data_json='{"factor": 7}')
        changed = (await edge.configs.UpdateConfig(change)).config
        assert (changed.data["factor"], changed.data_json) == (7, "")

    run(scenario)


@pytest.mark.parametrize(
    ("text", "field"),
    [("{", "data_json"), ("[1]", "data_json"), ('{"a": NaN}', "data_json.a"), ('{"a": [' * 20 + "1" + "]}" * 20, "data_json.a")],
)
def test_text_that_is_no_config(run: Any, refusal: Any, text: str, field: str) -> None:
    async def scenario(edge: Any) -> None:
        found = await refusal(edge.configs.CreateConfig(pb.CreateConfigRequest(name="x", data_json=text)))
        assert found.reason == "INVALID_FIELD"
        assert found.fields[0].startswith(field)

    run(scenario)


def test_the_rule_that_a_value_breaks_is_named(run: Any) -> None:
    async def scenario(edge: Any) -> None:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await edge.configs.CreateConfig(pb.CreateConfigRequest(name="x", data=struct(factor="many")))
        bad = error_details_pb2.BadRequest()
        assert any(detail.Unpack(bad) for detail in rpc_status.from_call(caught.value).details)
        assert [one.reason for one in bad.field_violations] == ["INT_PARSING"]

    run(scenario)
