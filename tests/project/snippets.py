"""Runs the examples of a page as a reader would: from top to bottom, in one folder, in one shell, against real servers.

A comment before a block says what it is: `<!-- file: name -->` is a file to write, `<!-- server -->` a command that goes on in
another terminal and takes the place of the server before it, `<!-- not run: reason -->` is left alone. A block of `bash` without
such a comment is run. A block of `text` is what the block before it must print, with `…` for anything. Ports are the one thing that
is not as printed.
"""

import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from arrivals import has_arrived
from free_ports import free_port

BLOCK = re.compile(r"(?:^<!-- (?P<role>[^\n]*?) -->\n)?^```(?P<language>\w+)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)
PRINTED_GRPC, PRINTED_HTTP = "50051", "8000"


@dataclass(frozen=True)
class Block:
    role: str
    language: str
    code: str


def blocks(page: Path) -> Iterator[Block]:
    for found in BLOCK.finditer(page.read_text()):
        yield Block(found["role"] or "", found["language"], found["code"])


class Reader:
    """Somebody who does what a page says, in a folder that looks like a checkout of `root`."""

    def __init__(self, root: Path, folder: Path) -> None:
        self.folder = folder
        for entry in root.iterdir():
            if not entry.name.startswith((".venv", "modelwire-data")):
                (folder / entry.name).symlink_to(entry)
        (folder / ".venv").symlink_to(sys.prefix)
        self.grpc_port, self.http_port = free_port(), free_port()
        self.printed = ""
        self._variables = folder / "variables.sh"
        self._variables.write_text("")
        self._server: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop_server()

    def follow(self, page: Path) -> None:
        for block in blocks(page):
            self.do(block)

    def do(self, block: Block) -> None:
        match block.role.partition(": ")[0], block.language:
            case "not run", _:
                pass
            case "file", _:
                self.write(block.role.removeprefix("file: "), block.code)
            case "server", "bash":
                self.serve(block.code)
            case "", "bash":
                self.run(block.code)
            case "", "text":
                self.compare(block.code)
            case other:
                raise AssertionError(f"nobody knows what to do with this block: {other}\n{block.code}")

    def write(self, name: str, code: str) -> None:
        path = self.folder / name
        assert not path.is_symlink()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.with_ports(code))

    def with_ports(self, code: str) -> str:
        code = re.sub(rf"(?<=localhost:){PRINTED_GRPC}\b", str(self.grpc_port), code)
        return re.sub(rf"(?<=localhost:){PRINTED_HTTP}\b", str(self.http_port), code)

    def environment(self) -> dict[str, str]:
        return {
            **{name: value for name, value in os.environ.items() if not name.startswith("MODELWIRE_")},
            "MODELWIRE_GRPC_PORT": str(self.grpc_port),
            "MODELWIRE_HTTP_PORT": str(self.http_port),
            "MODELWIRE_TARGET": f"localhost:{self.grpc_port}",
        }

    def script(self, code: str) -> list[str]:
        variables = shlex.quote(str(self._variables))
        return ["bash", "-c", f"source {variables}; set -aeo pipefail\n{self.with_ports(code)}\nexport -p > {variables}"]

    def run(self, code: str) -> None:
        done = subprocess.run(
            self.script(code),
            cwd=self.folder,
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=100,
            check=False,
        )
        self.printed = done.stdout
        assert done.returncode == 0, f"{code}\n{done.stdout}\n{self.server_log()}"

    def compare(self, expected: str) -> None:
        pattern = re.escape(expected.strip()).replace("…", ".*?")
        pattern = re.sub(r"(\\ )+", r"\\s+", pattern)
        assert re.fullmatch(pattern, self.printed.strip(), re.DOTALL), f"printed:\n{self.printed}\nexpected:\n{expected}"

    def serve(self, code: str) -> None:
        self.stop_server()
        with (self.folder / "server.log").open("ab") as log:
            self._server = subprocess.Popen(
                self.script(code),
                cwd=self.folder,
                env=self.environment(),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        assert has_arrived(self._server, f"localhost:{self.grpc_port}"), f"the server did not start: {code}\n{self.server_log()}"

    def server_log(self) -> str:
        log = self.folder / "server.log"
        return log.read_text() if log.exists() else ""

    def stop_server(self) -> None:
        if self._server is None:
            return
        os.killpg(self._server.pid, signal.SIGINT)
        try:
            self._server.wait(timeout=30)
        finally:
            if self._server.poll() is None:
                os.killpg(self._server.pid, signal.SIGKILL)
                self._server.wait()
            self._server = None
