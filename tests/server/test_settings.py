"""Where settings come from, and what is said of those that cannot be."""

import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from modelwire_server.cores import available_cores
from modelwire_server.settings import Settings, SettingsError


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No settings but those of the test."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.upper().startswith("MODELWIRE_")]:
        monkeypatch.delenv(name)


def refused(config: Path | None = None, **arguments: Any) -> str:
    with pytest.raises(SettingsError) as caught:
        Settings.load(config, **arguments)
    return str(caught.value)


def test_defaults_do_for_a_start() -> None:
    settings = Settings.load()
    assert (settings.host, settings.grpc_port, settings.http_port) == ("127.0.0.1", 50051, 8000)
    assert settings.data_dir == Path("modelwire-data")
    assert settings.max_jobs == available_cores()
    assert settings.max_message_bytes == 16 << 20


def test_every_setting_is_described() -> None:
    assert [name for name, field in Settings.model_fields.items() if not field.description] == []


def test_arguments_win_over_variables_over_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("modelwire.toml").write_text('host = "file"\ngrpc_port = 1\nhttp_port = 1\ndrain_seconds = 1.5\n')
    monkeypatch.setenv("MODELWIRE_GRPC_PORT", "2")
    monkeypatch.setenv("modelwire_http_port", "2")
    monkeypatch.setenv("MODELWIRE_DRAIN_SECONDS", "")
    settings = Settings.load(http_port=3, host=None)
    assert (settings.host, settings.grpc_port, settings.http_port, settings.drain_seconds) == ("file", 2, 3, 1.5)


def test_a_file_that_is_named_must_exist(tmp_path: Path) -> None:
    assert (
        refused(tmp_path / "none.toml") == f"the settings file {tmp_path / 'none.toml'} cannot be read: No such file or directory"
    )
    named = tmp_path / "other.toml"
    named.write_text('targets = ["a.py:b"]')
    assert Settings.load(named).targets == ["a.py:b"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("grpc_prot = 1\nhost = 'x'", "there is no setting 'grpc_prot'; did you mean 'grpc_port'?"),
        ("zzz = 1", "there is no setting 'zzz'"),
        ("[server]\nport = 1", "there is no setting 'server'"),
        ("grpc_port = ", "is no TOML"),
        ("grpc_port = 70000", "modelwire.toml: grpc_port is 70000: input should be less than or equal to 65535"),
    ],
)
def test_a_file_with_mistakes(text: str, sentence: str) -> None:
    Path("modelwire.toml").write_text(text)
    assert sentence in refused()


def test_all_mistakes_are_told_with_their_source(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELWIRE_MAX_JOBS", "none")
    lines = refused(grpc_port=-1, log_level="loud", nonsense=1).splitlines()
    assert len(lines) == 4
    assert lines[0].startswith("grpc_port is -1: ")
    assert any(line.startswith("MODELWIRE_MAX_JOBS: max_jobs is 'none': ") for line in lines)
    assert "there is no setting 'nonsense'" in lines


@pytest.mark.parametrize(
    ("given", "size"), [("1GiB", 1 << 30), ("2 GB", 2 * 10**9), ("512KiB", 1 << 19), (5, 5), ("17", 17), ("1.5MiB", 3 << 19)]
)
def test_sizes(given: Any, size: int) -> None:
    assert Settings.load(model_memory_bytes=given).model_memory_bytes == size


@pytest.mark.parametrize(
    "wrong",
    [
        {"model_memory_bytes": "much"},
        {"model_memory_bytes": 0},
        {"job_timeout": 0},
        {"job_timeout": float("inf")},
        {"drain_seconds": -1},
        {"max_jobs": 0},
        {"host": ""},
    ],
)
def test_values_out_of_bounds(wrong: dict[str, Any]) -> None:
    assert refused(**wrong).startswith(next(iter(wrong)))


def test_targets_from_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MODELWIRE_TARGETS", "a.py:one, b.py:two,")
    assert Settings.load().targets == ["a.py:one", "b.py:two"]


def test_levels_may_be_shouted() -> None:
    assert Settings.load(log_level="WARNING").log_level == "warning"


def test_frame_limits_follow_the_settings() -> None:
    limits = Settings.load(max_frame_bytes="1MiB", max_frame_decompressed_bytes=7, max_batch_bytes=8, max_columns=9).frame_limits
    assert (limits.max_bytes, limits.max_decompressed_bytes, limits.max_batch_bytes, limits.max_columns) == (1 << 20, 7, 8, 9)


POLICIES = '[{"older_than": "30d", "keep_last": 3}]'


def test_retention_is_a_list_of_tables_or_json(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("modelwire.toml").write_text('delete_jobs_after = "2w"\n[[retention]]\nolder_than = "30d"\nkeep_last = 3\n')
    from_file = Settings.load()
    monkeypatch.setenv("MODELWIRE_RETENTION", POLICIES)
    assert from_file.retention == Settings.load().retention
    assert from_file.retention[0].older_than == timedelta(days=30)
    assert from_file.delete_jobs_after == timedelta(weeks=2)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("30d", """MODELWIRE_RETENTION: retention is '30d': write the policies as JSON: [{"older_than": "30d"}]"""),
        ("[{}]", "retention.0 is {}: a policy needs older_than, keep_last or both"),
        ('[{"older_than": "30d", "age": 1}]', "there is no setting 'retention.0.age'"),
    ],
)
def test_policies_with_mistakes(monkeypatch: pytest.MonkeyPatch, text: str, sentence: str) -> None:
    monkeypatch.setenv("MODELWIRE_RETENTION", text)
    assert sentence in refused()


def test_what_an_orchestrator_sets_counts_where_nothing_else_does(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SERVICEKIT_ORCHESTRATOR_URL", "http://orchestrator/v2/services/$register")
    monkeypatch.setenv("SERVICEKIT_HOST", "model")
    monkeypatch.setenv("SERVICEKIT_PORT", "9000")
    monkeypatch.setenv("SERVICEKIT_REGISTRATION_KEY", "secret")
    settings = Settings.load()
    assert settings.orchestrator_url == "http://orchestrator/v2/services/$register"
    assert (settings.advertised_host, settings.advertised_port) == ("model", 9000)
    assert settings.registration_key.get_secret_value() == "secret"
    assert "secret" not in repr(settings)
    file = tmp_path / "own.toml"
    file.write_text('advertised_host = "file"')
    monkeypatch.setenv("MODELWIRE_ADVERTISED_PORT", "9001")
    settings = Settings.load(file)
    assert (settings.advertised_host, settings.advertised_port) == ("file", 9001)


def test_an_orchestrator_is_called_by_http() -> None:
    with pytest.raises(SettingsError, match="orchestrator_url is 'ftp://x'"):
        Settings.load(orchestrator_url="ftp://x")


def test_expected_models_are_named_by_an_alias() -> None:
    assert Settings(expected_models="cases, wine@staging, cases@production").expected_models == ["cases@production", "wine@staging"]
    for wrong in ("cases/3", "no name", "01J8Z6N4RS0QGJ9E2T3W5X7Y9A"):
        with pytest.raises(SettingsError, match="expected_models"):
            Settings.load(expected_models=[wrong])
