"""Every example in these pages does what it says."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from snippets import Reader

NEEDED = ("bash", "make", "jq", "grpcurl")


@pytest.fixture(autouse=True)
def tools(root: Path) -> None:
    """Skips where a tool is missing; where CI runs, none may be."""
    missing = [name for name in NEEDED if shutil.which(name) is None]
    # A stale environment would be made anew by the page's own `make`, in the wrong folder.
    fresh = (
        subprocess.run(["make", "--question", f"VENV={sys.prefix}", f"{sys.prefix}/.ready"], cwd=root, check=False).returncode == 0
    )
    complaint = f"not installed: {', '.join(missing)}" if missing else "" if fresh else "the environment is stale: make setup"
    if complaint and os.environ.get("CI"):
        pytest.fail(complaint)
    elif complaint:
        pytest.skip(complaint)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("page", ["README.md", "docs/quickstart.md"])
def test_the_examples_run_as_printed(root: Path, tmp_path: Path, page: str) -> None:
    with Reader(root, tmp_path) as reader:
        reader.follow(root / page)
