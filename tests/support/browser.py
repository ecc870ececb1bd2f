"""Drives headless Chromium over the DevTools protocol on a pair of pipes: no driver program, no port, no package."""

import base64
import contextlib
import fcntl
import json
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--hide-scrollbars",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--remote-debugging-pipe",
)  # fmt: skip


class Page:
    """One tab. `requests`, `errors` and `dialogs` collect what the page did since it was opened."""

    def __init__(self, write: int, read: int) -> None:
        self.write, self.read, self.buffer, self.number = write, read, b"", 0
        self.requests: list[str] = []
        self.errors: list[str] = []
        self.dialogs: list[str] = []
        target = self.call("Target.createTarget", session=None, url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", session=None, targetId=target, flatten=True)
        self.session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, session: str | None = "own", **parameters: Any) -> dict[str, Any]:
        """One command and its answer; events that come before it are kept."""
        self.number += 1
        message = {"id": self.number, "method": method, "params": parameters}
        if session is not None:
            message["sessionId"] = self.session
        os.write(self.write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == self.number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]
            self._event(answer)

    def open(self, url: str) -> None:
        """Opens `url` afresh and waits until the report says that it is ready."""
        self.call("Page.navigate", url="about:blank")
        self.requests, self.errors, self.dialogs = [], [], []
        self.call("Page.navigate", url=url)
        self.wait("document.documentElement && document.documentElement.dataset.ready !== undefined")

    def run(self, expression: str) -> Any:
        """The value of a JavaScript expression (a promise is awaited)."""
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in result:
            raise RuntimeError(json.dumps(result["exceptionDetails"])[:2000])
        return result["result"].get("value")

    def wait(self, condition: str) -> None:
        """Waits until a JavaScript expression is true, checking on every frame."""
        for _ in range(300):
            if self.run(f"new Promise(done => setTimeout(() => done(Boolean({condition})), 20))"):
                return
        raise TimeoutError(f"never became true: {condition}; errors: {self.errors}")

    def press(self, *keys: str) -> None:
        """Presses keys one after the other, as a person would."""
        for key in keys:
            text = {"text": key} if len(key) == 1 else {}
            code = {"ArrowRight": 39, "ArrowLeft": 37, "Escape": 27, "Home": 36, "End": 35, "Tab": 9}.get(key, 0)
            self.call("Input.dispatchKeyEvent", type="keyDown", key=key, windowsVirtualKeyCode=code, **text)
            self.call("Input.dispatchKeyEvent", type="keyUp", key=key, windowsVirtualKeyCode=code)
        self.run("new Promise(done => setTimeout(done, 60))")

    def size(self, width: int, height: int, *, dark: bool = False) -> None:
        """Sets the window and the color scheme the system asks for."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def picture(self, path: Path, *, whole: bool = False) -> None:
        """Saves what is seen (or the whole page) as PNG."""
        data = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)["data"]
        path.write_bytes(base64.b64decode(data))

    def _receive(self) -> dict[str, Any]:
        while b"\0" not in self.buffer:
            chunk = os.read(self.read, 1 << 20)
            if not chunk:
                raise ConnectionError("Chromium has gone")
            self.buffer += chunk
        message, self.buffer = self.buffer.split(b"\0", 1)
        return json.loads(message)

    def _event(self, event: dict[str, Any]) -> None:
        name, detail = event.get("method"), event.get("params", {})
        if name == "Network.requestWillBeSent":
            self.requests.append(detail["request"]["url"])
        elif name == "Runtime.exceptionThrown":
            self.errors.append(json.dumps(detail["exceptionDetails"])[:500])
        elif name == "Runtime.consoleAPICalled" and detail["type"] in ("error", "warning", "assert"):
            self.errors.append(json.dumps(detail["args"])[:500])
        elif name == "Log.entryAdded" and detail["entry"]["level"] in ("error", "warning"):
            self.errors.append(detail["entry"]["text"])
        elif name == "Page.javascriptDialogOpening":
            self.dialogs.append(detail["message"])


@contextlib.contextmanager
def chromium() -> Iterator[Page]:
    """A running browser with one tab; skips the test where Chromium is not installed."""
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip("needs the package chromium: run tools/install_system_packages.sh")
    to_browser, from_browser = _high_pipe(), _high_pipe()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile, open(os.devnull, "r+b") as null:
        actions = [
            (os.POSIX_SPAWN_DUP2, null.fileno(), 1),  # first: its number may be 3 or 4
            (os.POSIX_SPAWN_DUP2, null.fileno(), 2),
            (os.POSIX_SPAWN_DUP2, to_browser[0], 3),
            (os.POSIX_SPAWN_DUP2, from_browser[1], 4),
        ]
        arguments = [program, *FLAGS, f"--user-data-dir={profile}", "about:blank"]
        child = os.posix_spawn(program, arguments, os.environ, file_actions=actions, setpgroup=0)
        os.close(to_browser[0])
        os.close(from_browser[1])
        try:
            yield Page(to_browser[1], from_browser[0])
        finally:
            os.close(to_browser[1])
            os.close(from_browser[0])
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)


def _high_pipe() -> tuple[int, int]:
    """A pipe whose ends stay clear of the numbers 3 and 4, which the browser expects to be its own."""
    ends = []
    for end in os.pipe():
        ends.append(fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 20))
        os.close(end)
    return ends[0], ends[1]
