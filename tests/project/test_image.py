"""The container's files agree with each other and with the project; building the image itself needs an engine."""

import re
from pathlib import Path


def test_the_build_context_holds_exactly_what_is_copied(root: Path) -> None:
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", (root / "Dockerfile").read_text(), re.MULTILINE)
    sources = {name for line in copied for name in line.split()}
    let_in = {line[1:] for line in (root / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert sources == let_in
    assert all((root / name).exists() for name in sources)


def test_the_image_runs_as_an_ordinary_user_and_says_whether_it_is_well(root: Path) -> None:
    lines = (root / "Dockerfile").read_text().splitlines()
    assert "USER 1000:1000" in lines
    assert "VOLUME /data" in lines
    assert "EXPOSE 50051 8000" in lines


def test_the_health_check_is_a_program(root: Path) -> None:
    (found,) = re.findall(r'CMD \["python", "-c", "(.*)"\]', (root / "Dockerfile").read_text())
    compile(found.replace('\\"', '"'), "HEALTHCHECK", "exec")
