"""The three containers of the example with MLflow. What they do is proved in tests/acceptance/test_mlflow.py."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from modelwire_server.settings import Settings
from modelwire_server.sources.policy import FollowedModel

FOLDER = Path(__file__).parents[2] / "examples" / "mlflow_reload"


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((FOLDER / "compose.yaml").read_text())["services"]
    return found


def option(service: Any, name: str) -> str:
    command: list[str] = service["command"]
    return command[command.index(name) + 1]


def test_three_components_registry_api_and_training_container(services: dict[str, Any]) -> None:
    assert set(services) == {"mlflow", "modelwire", "training"}


def test_compose_file_has_ports_of_the_registry_and_the_api_which_find_each_other(services: dict[str, Any]) -> None:
    mlflow, modelwire, training = services["mlflow"], services["modelwire"], services["training"]
    assert mlflow["ports"] == ["127.0.0.1:5001:5001"]
    assert modelwire["ports"][0] == "127.0.0.1:5002:5002"
    assert option(modelwire, "--mlflow") == training["environment"]["MLFLOW_TRACKING_URI"] == "http://mlflow:5001"
    assert "mlflow:5001" in option(mlflow, "--allowed-hosts")
    followed = FollowedModel.parse(option(modelwire, "--source"))
    assert followed.uri == f"mlflow:{option(training, '--model')}@{option(training, '--alias')}"


def test_the_settings_of_the_container_are_settings(services: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in services["modelwire"]["environment"].items():
        monkeypatch.setenv(name, value)
    settings = Settings.load()
    assert (settings.http_port, settings.worker_timeout, settings.default_deadline) == (5002, 120, 120)


def test_what_the_containers_are_given_is_there(services: dict[str, Any]) -> None:
    places = [volume.partition(":")[0] for service in services.values() for volume in service["volumes"]]
    assert (FOLDER / "training.py").is_file()
    assert "./training.py" in places
    assert (FOLDER / services["modelwire"]["build"] / "Dockerfile").is_file()
