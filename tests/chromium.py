"""A browser of the tests' own: Chromium without a window, spoken to in the DevTools protocol."""

import base64
import json
import shutil
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

SECONDS = 30.0
NAMES = ("chromium", "chromium-browser", "google-chrome")

# Waits in the page until an expression is truthy.
WAIT = (
    "new Promise(resolve => { const look = () => { const found = (%s); found ? resolve(found) : setTimeout(look, 20); }; look(); })"
)


def program() -> str | None:
    return next((found for name in NAMES if (found := shutil.which(name))), None)


class Page:
    """One tab. `answered` are the addresses that it got something from so far, `exceptions` what its scripts did not catch."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._last = 0
        self.answered: list[str] = []
        self.exceptions: list[str] = []
        for domain in ("Page", "Network", "Runtime"):
            self.command(f"{domain}.enable")

    def command(self, method: str, **parameters: Any) -> Any:
        """Sends a command and returns its result; events that come before it are taken note of."""
        self._last += 1
        self._socket.send(json.dumps({"id": self._last, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._socket.recv(timeout=SECONDS))
            if message.get("id") == self._last:
                assert "error" not in message, message["error"]
                return message["result"]
            self._note(message)

    def _note(self, event: Any) -> None:
        parameters = event["params"]
        match event["method"]:
            case "Network.responseReceived":
                self.answered.append(parameters["response"]["url"])
            case "Runtime.exceptionThrown":
                self.exceptions.append(parameters["exceptionDetails"]["text"])

    def open(self, url: str) -> None:
        self.command("Page.navigate", url=url)

    def evaluate(self, script: str) -> Any:
        """The value of an expression, awaited if it is a promise."""
        outcome = self.command("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in outcome, outcome["exceptionDetails"]
        return outcome["result"].get("value")

    def wait_for(self, condition: str) -> Any:
        """Waits until an expression is truthy and returns it."""
        return self.evaluate(WAIT % condition)

    def click(self, selector: str) -> None:
        self.wait_for(f"!!document.querySelector({json.dumps(selector)})")
        self.evaluate(f"document.querySelector({json.dumps(selector)}).click()")

    def text(self, selector: str) -> str:
        """The text of the first element that fits, once there is one."""
        found: str = self.wait_for(f"document.querySelector({json.dumps(selector)})?.innerText")
        return found

    def screenshot(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self.command("Page.captureScreenshot", format="png")["data"]))


@contextmanager
def browser(folder: Path) -> Iterator[Page]:
    """Starts Chromium with its profile in `folder`. It resolves no name: what is not on 127.0.0.1 is not there."""
    command = [
        str(program()),
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--disable-background-networking",
        "--no-first-run",
        "--window-size=1400,1800",
        "--remote-debugging-port=0",
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
        f"--user-data-dir={folder}",
        "about:blank",
    ]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            address = next(line.split()[-1] for line in process.stderr if "DevTools listening on" in line)
            with connect(_tab(address), max_size=None, open_timeout=SECONDS) as socket:
                yield Page(socket)
        finally:
            process.terminate()
            process.communicate(timeout=SECONDS)


def _tab(address: str) -> str:
    """The address of the tab that is open, by that of the browser."""
    port = address.split("/")[2]
    with urllib.request.urlopen(f"http://{port}/json/list", timeout=SECONDS) as answer:
        found: str = next(target["webSocketDebuggerUrl"] for target in json.load(answer) if target["type"] == "page")
    return found
