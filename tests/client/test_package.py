"""The package itself: what it offers, what it weighs, and that its two halves are one."""

import asyncio
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import modelwire
from modelwire._async.client import AsyncClient
from modelwire._sync.client import Client

ROOT = Path(__file__).parents[2]
HEAVY = ("pandas", "polars", "pyarrow", "numpy", "sqlalchemy", "pydantic", "sklearn", "rich", "typer", "modelwire_server")


def python(*arguments: str) -> str:
    return subprocess.run([sys.executable, *arguments], check=True, capture_output=True, text=True, cwd=ROOT).stdout.strip()


def test_the_public_names() -> None:
    assert modelwire.__all__ == sorted(modelwire.__all__)
    assert set(modelwire.__all__) == {
        *("Client", "Config", "Job", "Model", "Artifact"),
        *("AsyncClient", "AsyncConfig", "AsyncJob", "AsyncModel", "AsyncArtifact"),
        *("Event", "StateEvent", "StageEvent", "ProgressEvent", "LogEvent", "MetricEvent", "ArtifactEvent"),
        *("ArtifactInput", "ArtifactNode", "Diagnostic", "HealthStatus", "JobStatus", "ModelMetadata", "RunInfo", "Runner"),
        *("RunnerInfo", "SampleData", "Validation", "FieldViolation", "__version__"),
        *("ModelReadiness", "ModelScores", "PredictorInfo", "PredictOutcome", "Readiness"),
        *("RegisteredModel", "ModelVersion", "ModelEvent", "PromotionGate", "MetricBounds", "GoldenRows", "GateFinding"),
        *("ModelwireError", "AlreadyExists", "Canceled", "DataLoss", "DeadlineExceeded", "FailedPrecondition", "Internal"),
        *("InvalidArgument", "JobCanceled", "JobFailed", "NotFound", "PermissionDenied", "ResourceExhausted"),
        *("Unauthenticated", "Unavailable", "Unimplemented"),
    }
    assert all(hasattr(modelwire, name) for name in modelwire.__all__)


def test_importing_loads_nothing_heavy() -> None:
    assert python("-c", f"import modelwire, sys; print([name for name in {HEAVY} if name in sys.modules])") == "[]"


def test_importing_is_quick() -> None:
    seconds = "import time; begin = time.process_time(); import modelwire; print(time.process_time() - begin)"
    assert min(float(python("-c", seconds)) for _ in range(3)) < 0.4


def test_the_client_works_without_optional_libraries() -> None:
    """As in an environment that has the client's own dependencies only."""
    optional = [name for name in HEAVY if name not in ("pyarrow", "numpy", "rich", "typer")]
    script = f"""
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {optional}:
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Absent())
import modelwire, modelwire.frames, modelwire.chunks
source = modelwire.frames.FrameSource([{{"x": 1}}], "data")
print(source.like_me(modelwire.chunks.decode(modelwire.chunks.encode(source))).to_pylist())
"""
    assert python("-c", script) == "[{'x': 1}]"


def test_the_blocking_client_is_what_the_asynchronous_one_says() -> None:
    python("scripts/generate_client.py", "--check")


def test_drift_between_the_clients_is_found(tmp_path: Path) -> None:
    sys.path.insert(0, str(ROOT / "scripts"))
    try:
        import generate_client
    finally:
        sys.path.pop(0)
    stale = generate_client.differences(tmp_path)
    assert "client.py" in stale


def members(kind: type) -> dict[str, list[str]]:
    public = inspect.getmembers(kind, lambda member: inspect.isfunction(member) or isinstance(member, property))
    return {
        name: list(inspect.signature(member).parameters) if inspect.isfunction(member) else []
        for name, member in public
        if not name.startswith("_")
    }


@pytest.mark.parametrize("name", ["Client", "Job", "Model", "Artifact", "Config"])
def test_both_clients_offer_the_same(name: str) -> None:
    assert members(getattr(modelwire, name)) == members(getattr(modelwire, f"Async{name}"))


def test_the_blocking_client_needs_no_event_loop() -> None:
    for path in (ROOT / "client" / "modelwire" / "_sync").glob("*.py"):
        text = path.read_text()
        assert "asyncio" not in text
        assert "await" not in text
        assert text.startswith("# Generated from ../_async")


def test_every_public_method_says_what_it_does() -> None:
    for client in (Client("x:1"), AsyncClient("x:1")):
        resources = [client, *(value for name, value in vars(client).items() if not name.startswith("_"))]
        for resource in resources:
            for name, member in inspect.getmembers(type(resource), inspect.isfunction):
                assert name.startswith("_") or inspect.getdoc(member), f"{type(resource).__name__}.{name}"


def test_a_client_is_made_without_a_loop_and_used_in_one() -> None:
    client = AsyncClient("127.0.0.1:1", timeout=0.2)

    async def use() -> None:
        with pytest.raises(modelwire.ModelwireError):
            await client.configs.get("x")
        await client.close()

    asyncio.run(use())
    asyncio.run(use())


def test_what_a_client_is_shows() -> None:
    assert repr(Client("here:1")) == "Client('here:1')"
    assert repr(AsyncClient("here:1")) == "AsyncClient('here:1')"
