"""HTTP/2 as h2spec has it (https://github.com/summerwind/h2spec)."""

import asyncio
import re
import shutil
from pathlib import Path
from xml.etree import ElementTree

from http2_peer import SERVICE, asynchronous, serving
from programs import require

from modelwire_server.http2.rules import ConnectionRules

# It takes for granted that frames are no larger than what holds without SETTINGS.
RULES = ConnectionRules(max_frame=16_384, max_streams=100)
# It is more than this that h2spec has; fewer would be no test.
MOST_OF_THEM = 140


async def h2spec(port: int, report: Path) -> str:
    """What it says."""
    program = shutil.which("h2spec")
    assert program is not None
    options = [
        "--host=127.0.0.1",
        f"--port={port}",
        f"--path=/{SERVICE}/Echo",
        "--timeout=1",
        "--strict",
        f"--junit-report={report}",
    ]
    process = await asyncio.create_subprocess_exec(
        program, *options, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await process.communicate()
    return re.sub(r"\x1b\[[0-9;]*m", "", output.decode())


def test_h2spec(tmp_path: Path) -> None:
    require("h2spec")
    report = tmp_path / "report.xml"
    said: list[str] = []

    @asynchronous
    async def main() -> None:
        async with serving(RULES) as server:
            said.append(await h2spec(server.port, report))

    main()
    cases = list(ElementTree.parse(report).iter("testcase"))  # noqa: S314 it is ours
    failed = [f"{case.get('package')}: {case.get('classname')}" for case in cases if len(case)]
    assert failed == [], said[0].partition("Failures:")[2]
    assert len(cases) > MOST_OF_THEM
