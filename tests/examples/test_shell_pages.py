"""What the pages about scripts print is what happens."""

from pathlib import Path

import pytest
from programs import require, require_r
from snippets import Reader

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("page", ["examples/README.md", "docs/shell.md"])
def test_the_examples_run_as_printed(tmp_path: Path, page: str) -> None:
    require("bash", "jq", "node")
    require_r("yaml")
    with Reader(ROOT, tmp_path) as reader:
        reader.run("source .venv/bin/activate")
        reader.follow(ROOT / page)
