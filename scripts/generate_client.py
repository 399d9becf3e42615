"""Generates client/modelwire/_sync, the blocking client, from client/modelwire/_async.

    python scripts/generate_client.py            # write the blocking client
    python scripts/generate_client.py --check    # fail if it is not what the asynchronous one says

Names and keywords are replaced by tokens (`unasync`), in docstrings by words; what differs otherwise stands in modelwire/_seams.
"""

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import unasync

ROOT = Path(__file__).resolve().parent.parent
CLIENT = ROOT / "client" / "modelwire"
SOURCE = CLIENT / "_async"
GENERATED = CLIENT / "_sync"
BANNER = "# Generated from ../_async by scripts/generate_client.py. Do not edit.\n\n"
WORDS = ((r"\bawait ", ""), (r"\basync (?=with|for)", ""), (r"\bAsync(?=[A-Z])", ""), (r"\bmany tasks\b", "many threads"))


def replacements() -> dict[str, str]:
    """Names by token: each class of the asynchronous client loses its prefix."""
    classes = {name for path in SOURCE.glob("*.py") for name in re.findall(r"^class (Async\w+)", path.read_text(), re.MULTILINE)}
    names = {"_async": "_sync", "asynchronous": "blocking", "aclosing": "closing"}
    return names | {name: name.removeprefix("Async") for name in classes}


def generate(into: Path) -> None:
    """Writes the blocking client to the folder `into`."""
    with tempfile.TemporaryDirectory() as folder:
        copied = Path(folder) / "_async"
        shutil.copytree(SOURCE, copied, ignore=shutil.ignore_patterns("__pycache__"))
        rule = unasync.Rule(str(copied), str(into), additional_replacements=replacements())
        unasync.unasync_files([str(path) for path in sorted(copied.glob("*.py"))], [rule])
    for path in into.glob("*.py"):
        path.write_text(BANNER + reword(path.read_text()))
    format_code(into)


def reword(code: str) -> str:
    """Rewrites the words in docstrings and comments, where tokens do not reach."""
    for pattern, replacement in WORDS:
        code = re.sub(pattern, replacement, code)
    return code


def format_code(folder: Path) -> None:
    """Formats by the project's rules, with what only becomes possible without `async`: `yield from`, `list()`."""
    config = ["--config", str(ROOT / "pyproject.toml"), "--config", 'lint.isort.known-first-party=["modelwire"]', "--quiet"]
    for command in (["check", "--select", "C4,I,UP,PYI016", "--fix", "--unsafe-fixes"], ["format"]):
        subprocess.run([sys.executable, "-m", "ruff", *command, *config, str(folder)], check=True)


def differences(fresh: Path) -> list[str]:
    """The files that are not as they would be generated."""
    names = {path.name for folder in (fresh, GENERATED) for path in folder.glob("*.py")}
    return sorted(name for name in names if _text(fresh / name) != _text(GENERATED / name))


def _text(path: Path) -> str | None:
    return path.read_text() if path.exists() else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare with what is committed, write nothing")
    check = parser.parse_args().check
    # Beside its place, so that imports are sorted in the same way.
    with tempfile.TemporaryDirectory(dir=CLIENT, prefix="_fresh_") as folder:
        fresh = Path(folder)
        generate(fresh)
        if stale := differences(fresh):
            if check:
                raise SystemExit(f"the blocking client is stale: {', '.join(stale)}. Run `python scripts/generate_client.py`.")
            shutil.rmtree(GENERATED, ignore_errors=True)
            shutil.copytree(fresh, GENERATED)


if __name__ == "__main__":
    main()
