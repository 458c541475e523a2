"""A real browser, driven over its own protocol through two pipes: what a page does, asks for and complains about."""

import base64
import json
import os
import select
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
PATIENCE_S = 60
OPTIONS = (
    "--headless --remote-debugging-pipe --no-sandbox --disable-gpu --no-first-run --disable-extensions "
    "--disable-background-networking --disable-component-update --disable-dev-shm-usage"
)


class Browser:
    """One page of a headless Chromium.

    Attributes:
        requests: addresses that the page asked for since `open`.
        complaints: exceptions, errors of the console, and what the policy forbade.
    """

    def __init__(self, program: str, profile: Path) -> None:
        ours, theirs = os.pipe(), os.pipe()
        command = f'exec "{program}" {OPTIONS} --user-data-dir="{profile}" about:blank 3<&{ours[0]} 4>&{theirs[1]}'
        self.process = subprocess.Popen(
            ["bash", "-c", command], pass_fds=(ours[0], theirs[1]), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        os.close(ours[0])
        os.close(theirs[1])
        self._out, self._in = os.fdopen(ours[1], "wb"), os.fdopen(theirs[0], "rb")
        self._rest, self._count = b"", 0
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self._loaded = False
        self._session: str | None = None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """The answer to a command of the protocol."""
        self._count += 1
        said = {"id": self._count, "method": method, "params": params}
        said |= {"sessionId": self._session} if self._session else {}
        self._out.write(json.dumps(said).encode() + b"\0")
        self._out.flush()
        while True:
            message = self._next()
            if message.get("id") == self._count:
                assert "error" not in message, message["error"]
                return message["result"]

    def open(self, address: str) -> None:
        """Load a page, and wait until it is there."""
        for stop in ("about:blank", address):  # another place on the same page would load nothing
            self.requests, self.complaints, self._loaded = [], [], False
            self.call("Page.navigate", url=stop)
            while not self._loaded:
                self._next()
        self.run("new Promise((done) => setTimeout(done, 20))")

    def follow(self, code: str) -> None:
        """Run something that leads to another page, and wait until that is there."""
        self._loaded = False
        self.run(code)
        while not self._loaded:
            self._next()

    def run(self, code: str) -> Any:
        """The value of an expression in the page; of a promise what it gives."""
        found = self.call("Runtime.evaluate", expression=code, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found["exceptionDetails"]
        return found["result"].get("value")

    def picture(self, path: Path, *, width: int = 1280, height: int = 900, dark: bool = False) -> None:
        """What it looks like, as a PNG."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        feature = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[feature])
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", captureBeyondViewport=True)["data"]))

    def close(self) -> None:
        with suppress(OSError, AssertionError, EOFError):
            self._session = None
            self.call("Browser.close")
        self.process.terminate()
        self.process.wait(10)
        self._out.close()
        self._in.close()

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            if not select.select([self._in], [], [], PATIENCE_S)[0] or not (more := os.read(self._in.fileno(), 2**16)):
                raise EOFError("the browser says nothing")
            self._rest += more
        text, _, self._rest = self._rest.partition(b"\0")
        message = json.loads(text)
        what, params = message.get("method"), message.get("params", {})
        if what == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        elif what == "Runtime.exceptionThrown":
            self.complaints.append(str(params["exceptionDetails"]))
        elif what == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            self.complaints.append(params["entry"]["text"])
        elif what == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert"):
            self.complaints.append(str(params["args"]))
        elif what == "Page.loadEventFired":
            self._loaded = True
        return message


@pytest.fixture(scope="session")
def browser(tmp_path_factory) -> Iterator[Browser]:
    """A browser; tests that need one skip where there is none."""
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip(f"needs one of {', '.join(NAMES)}")
    found = Browser(program, tmp_path_factory.mktemp("browser"))
    yield found
    found.close()
