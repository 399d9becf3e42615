"""Following models elsewhere, as far as no MLflow is needed; with one: tests/acceptance/test_mlflow.py."""

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from modelwire_server.app import running
from modelwire_server.database.engine import Database
from modelwire_server.settings import Settings, SettingsError
from modelwire_server.sources.address import Address
from modelwire_server.sources.conversation import Conversation
from modelwire_server.sources.mlflow_program import UNAVAILABLE, Failure
from modelwire_server.sources.store import Claim

NOWHERE = "http://127.0.0.1:9"


@pytest.mark.parametrize(
    ("uri", "meant"),
    [
        ("mlflow:Wine@champion", Address(name="Wine", alias="champion")),
        ("mlflow:Wine/3", Address(name="Wine", version="3")),
        ("mlflow:red wine/production", Address(name="red wine", stage="Production")),
    ],
)
def test_an_address_is_a_name_with_an_alias_a_version_or_a_stage(uri: str, meant: Address) -> None:
    assert Address.parse(uri) == meant
    assert Address.parse(str(meant)) == meant


@pytest.mark.parametrize(
    "uri",
    [
        "mlflow:Wine",
        "Wine@champion",
        "http:Wine/3",
        "mlflow:/3",
        "mlflow:Wine/0",
        "mlflow:Wine/Testing",
        "mlflow:Wine@",
        "mlflow:W'/1",
        "mlflow:a/b/3",
    ],
)
def test_what_is_no_address_is_refused(uri: str) -> None:
    with pytest.raises(ValueError, match="is not mlflow:NAME@ALIAS"):
        Address.parse(uri)


def test_settings_are_the_servers_address_the_models_name_and_its_stage(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text(
        f"""
        mlflow_url = "{NOWHERE}"
        sources = [
            "wine=mlflow:Wine/production",
            {{ name = "other", uri = "mlflow:Other@champion", server = "http://elsewhere:5001", watch = "on-request", alias = "staging" }},
        ]
        """
    )
    settings = Settings.load(file)
    wine, other = settings.followed_models
    assert (wine.name, wine.uri, wine.server, wine.watch, wine.seconds) == ("wine", "mlflow:Wine/Production", NOWHERE, "always", 2)
    assert (other.server, other.alias, other.watch) == ("http://elsewhere:5001", "staging", "on-request")
    assert other.seconds == 10, "after a request to reload it is asked every 10 seconds"
    assert settings.all_expected_models == ["wine@production", "other@staging"]


@pytest.mark.parametrize("text", ["a=mlflow:A/1, b=mlflow:B/2", '["a=mlflow:A/1", {"name": "b", "uri": "mlflow:B/2"}]'])
def test_sources_in_a_variable(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELWIRE_SOURCES", text)
    monkeypatch.setenv("MODELWIRE_MLFLOW_URL", NOWHERE)
    assert [one.uri for one in Settings.load().sources] == ["mlflow:A/1", "mlflow:B/2"]


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"sources": ["wine=mlflow:Wine@champion"]}, "which MLflow server"),
        ({"sources": ["wine"], "mlflow_url": NOWHERE}, "is not NAME=mlflow:MODEL@ALIAS"),
        ({"sources": ["a b=mlflow:Wine/1"], "mlflow_url": NOWHERE}, "is neither an id nor a name"),
        ({"sources": ["a=mlflow:A/1", "a=mlflow:B/1"], "mlflow_url": NOWHERE}, "two sources are for a@production"),
        ({"sources": [{"name": "a", "uri": "mlflow:A/1", "watch": "never"}], "mlflow_url": NOWHERE}, "'always' or 'on-request'"),
        ({"sources": '[{"name": "a"', "mlflow_url": NOWHERE}, "write the sources as JSON"),
        ({"mlflow_url": "here"}, "mlflow_url"),
    ],
)
def test_settings_that_cannot_be(wrong: dict[str, Any], why: str) -> None:
    with pytest.raises(SettingsError, match=why):
        Settings.load(**wrong)


def test_background_task_watches_for_requests_and_ends_with_the_app(tmp_path: Path) -> None:
    """It is listed while the server runs; afterwards nothing is pending."""

    def watchers() -> list[str]:
        return [task.get_name() for task in asyncio.all_tasks() if task.get_name().startswith("source of")]

    async def serve() -> None:
        settings = Settings(data_dir=tmp_path, grpc_port=0, http_port=0, mlflow_url=NOWHERE, sources=["wine=mlflow:Wine@champion"])
        async with running(settings):
            assert watchers() == ["source of wine"]
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(serve())


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_one_process_at_a_time_follows(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    url = f"sqlite:///{tmp_path}/own.db" if kind == "sqlite" else request.getfixturevalue("postgres_url")

    async def take_turns() -> None:
        databases = [await Database.open(url) for _ in range(2)]
        first, second = (Claim(database, "source-wine@production") for database in databases)
        other = Claim(databases[1], "source-other@production")
        assert await asyncio.to_thread(lambda: (first.take(), second.take(), other.take())) == (True, False, True)
        assert first.holds()
        first.release()
        assert await asyncio.to_thread(second.take)
        for claim in (second, other):
            claim.release()
        for database in databases:
            await database.close()

    asyncio.run(take_turns())


def asked(conversation: Conversation, work: Callable[[Conversation], Any]) -> Any:
    async def ask() -> Any:
        try:
            return await work(conversation)
        finally:
            await conversation.close()

    return asyncio.run(ask())


RESOLVE = {"name": "Wine", "version": "", "alias": "champion", "stage": ""}


def test_a_question_without_an_answer_ends_in_time_and_with_it_the_process() -> None:
    async def impatient(conversation: Conversation) -> None:
        with pytest.raises(Failure, match="no answer within") as failed:
            await conversation.ask("resolve", within=0.01, **RESOLVE)
        assert failed.value.kind == UNAVAILABLE

    asked(Conversation(NOWHERE), impatient)


def test_a_client_that_is_killed_is_told_of_and_started_again() -> None:
    async def survive(conversation: Conversation) -> None:
        asking = asyncio.create_task(conversation.ask("resolve", within=30, **RESOLVE))
        while conversation.pid is None:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)
        first = conversation.pid
        os.kill(first, 9)
        with pytest.raises(Failure, match="has ended"):
            await asking
        with pytest.raises(Failure, match="Connection refused"):
            await conversation.ask("resolve", within=60, **RESOLVE)
        assert conversation.pid not in (None, first)

    asked(Conversation(NOWHERE), survive)


def test_nobody_asks_any_more_and_the_client_ends() -> None:
    async def rest(conversation: Conversation) -> None:
        with pytest.raises(Failure):
            await conversation.ask("resolve", within=60, **RESOLVE)
        while conversation.pid is not None:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.01)

    asked(Conversation(NOWHERE, idle_seconds=0.05), rest)
