"""The OpenAPI document of a server, taken at its word: by schemathesis, and by a person with a browser."""

import json
import os
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from chromium import Page, browser, program
from serving import RUNNERS, ServerProcess

from modelwire import Client

SETTINGS = Path(__file__).parent / "openapi"
# So many requests are made up at least; from FULL on also all those that lie at the edge of what the document allows.
CASES = int(os.environ.get("REST_CASES", "300"))
FULL = 2000
SEED = 20260101


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server that has one of everything."""
    targets = [f"{RUNNERS / 'strict.py'}:runner", f"{RUNNERS / 'lengths.py'}:predictor"]
    with ServerProcess(*targets, data_dir=tmp_path_factory.mktemp("data")) as server:
        with Client(server.target) as client:
            config = client.configs.create("first", {})
            model = client.train(config.id, {"a": [1, 2]}).wait()
            client.registry.register("first", model, alias="production")
        yield server


@pytest.fixture(scope="module")
def url(server: ServerProcess) -> str:
    return f"http://127.0.0.1:{server.http_port}"


def ask(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=30) as answer:  # noqa: S310 - our own
        return json.load(answer)


@pytest.mark.timeout(1200)
def test_the_server_keeps_to_its_document(url: str, tmp_path: Path) -> None:
    operations = sum(len(path) for path in ask(f"{url}/openapi.json")["paths"].values())
    phases = "examples,fuzzing,stateful" + (",coverage" if CASES >= FULL else "")
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(SETTINGS / "schemathesis.toml"), "run"]
    command += [f"{url}/openapi.json", "--checks=all", f"--phases={phases}", f"--seed={SEED}", "--no-color"]
    command += [f"--max-examples={-(-CASES // operations)}"]
    variables = {**os.environ, "PYTHONPATH": str(SETTINGS)}
    run = subprocess.run(command, check=False, capture_output=True, text=True, env=variables, cwd=tmp_path)
    assert run.returncode == 0, run.stdout[-20_000:] + run.stderr
    found = re.search(r"(\d+) generated", run.stdout)
    assert found is not None
    assert int(found[1]) >= CASES


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    if program() is None and "CI" not in os.environ:
        pytest.skip("Chromium is not installed")
    with browser(tmp_path_factory.mktemp("browser")) as page:
        yield page


def strangers(page: Page, url: str) -> list[str]:
    """What the page got from elsewhere."""
    return [one for one in page.answered if not one.startswith((f"{url}/", f"blob:{url}/", "data:"))]


def test_a_training_is_tried_out_from_the_page(page: Page, url: str, tmp_path: Path) -> None:
    page.open(f"{url}/docs")
    operation = "#operations-Train-Train"
    page.click(f"{operation} .opblock-summary-control")
    page.click(f"{operation} .try-out__btn")
    page.click(f"{operation} .execute")
    assert page.text(f"{operation} .live-responses-table .response .response-col_status").startswith("202")
    page.screenshot(tmp_path / "docs.png")
    job = ask(f"{url}/api/v1/jobs")[0]
    assert job["id"] in page.text(f"{operation} .live-responses-table .response .response-col_description")
    assert page.exceptions == []
    assert strangers(page, url) == []


def test_the_other_page_shows_all_operations(page: Page, url: str, tmp_path: Path) -> None:
    page.open(f"{url}/redoc")
    page.wait_for("""!!document.querySelector('[id="tag/Train/operation/Train"]')""")
    page.screenshot(tmp_path / "redoc.png")
    document = ask(f"{url}/openapi.json")
    wanted = {one["operationId"] for path in document["paths"].values() for one in path.values()}
    shown = page.evaluate("[...document.querySelectorAll('[id*=\"/operation/\"]')].map(one => one.id.split('/').pop())")
    assert wanted == set(shown)
    assert page.exceptions == []
    assert strangers(page, url) == []
