"""What the page on models from elsewhere prints is what happens."""

from pathlib import Path

import pytest
from programs import require
from snippets import Reader

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_examples_run_as_printed(tmp_path: Path) -> None:
    require("bash", "curl", "jq", "grpcurl")
    with Reader(ROOT, tmp_path) as reader:
        reader.run("source .venv/bin/activate")
        reader.follow(ROOT / "docs" / "importing.md")
