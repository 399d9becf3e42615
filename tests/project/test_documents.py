"""The pages hold together: links lead somewhere, examples parse, nothing tells of the machine that they were written on."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("benchmarks/*.md"), *ROOT.glob("examples/**/*.md")])
LINK = re.compile(r"\[[^\]]*\]\((?!https?:|mailto:)([^)#\s]*)(?:#([^)\s]+))?\)")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PATHS_OF_A_MACHINE = re.compile(r"(?<![\w.~-])/(?:work|root|home|Users)/\w")


def page_id(path: Path) -> str:
    return str(path.relative_to(ROOT))


def anchors(page: Path) -> set[str]:
    text = FENCE.sub("", page.read_text())
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_links_lead_somewhere(page: Path) -> None:
    for target, anchor in LINK.findall(FENCE.sub("", page.read_text())):
        file = (page.parent / target).resolve() if target else page
        assert file.exists(), f"{page.name} links to {target}"
        if anchor and file.suffix == ".md":
            assert anchor in anchors(file), f"{page.name} links to {target}#{anchor}"


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_python_blocks_parse(page: Path) -> None:
    for language, code in FENCE.findall(page.read_text()):
        if language in ("python", "py"):
            ast.parse(code)


def test_every_page_of_the_docs_can_be_found_from_the_index() -> None:
    index = (ROOT / "docs" / "index.md").read_text()
    linked = {target for target, _ in LINK.findall(index)}
    assert {page.name for page in ROOT.glob("docs/*.md")} - {"index.md"} <= linked


def test_nothing_names_a_path_of_the_machine_it_was_written_on() -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    ours = [ROOT / name for name in listed.split("\0") if name and name != Path(__file__).relative_to(ROOT).as_posix()]
    telling = [page_id(path) for path in ours if path.exists() and PATHS_OF_A_MACHINE.search(path.read_text(errors="ignore"))]
    assert telling == []
