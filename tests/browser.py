"""A real browser for the tests: headless Chromium, driven by its debugging protocol over a pipe."""

import base64
import contextlib
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

KEYS = {
    "Tab": {"code": "Tab", "windowsVirtualKeyCode": 9},
    "Enter": {"code": "Enter", "windowsVirtualKeyCode": 13, "text": "\r"},
    "ArrowUp": {"code": "ArrowUp", "windowsVirtualKeyCode": 38},
    "ArrowDown": {"code": "ArrowDown", "windowsVirtualKeyCode": 40},
    "ArrowRight": {"code": "ArrowRight", "windowsVirtualKeyCode": 39},
}


def program() -> str | None:
    """The path of a Chromium, None if there is none."""
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)


class Page:
    """One tab. `requested`: the addresses that pages asked for; `complaints`: errors of their scripts."""

    def __init__(self, read, write):
        self.read, self.write, self.count, self.rest = read, write, 0, b""
        self.requested: list[str] = []
        self.complaints: list[str] = []
        self.loaded = False
        self.session = None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params) -> dict:
        self.count += 1
        message = {"id": self.count, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        os.write(self.write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self.count:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                return answer["result"]

    def _next(self) -> dict:
        while b"\0" not in self.rest:
            part = os.read(self.read, 1 << 20)
            if not part:
                raise RuntimeError("the browser has ended")
            self.rest += part
        line, _, self.rest = self.rest.partition(b"\0")
        message = json.loads(line)
        method, params = message.get("method"), message.get("params", {})
        if method == "Network.requestWillBeSent":
            self.requested.append(params["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            self.complaints.append(str(params["exceptionDetails"].get("exception", {}).get("description")))
        elif method == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.complaints.append(params["entry"]["text"])
        elif method == "Page.loadEventFired":
            self.loaded = True
        return message

    def open(self, file: Path) -> None:
        self.visit(file.resolve().as_uri())

    def visit(self, address: str) -> None:
        """An address with ? or #; of another page than the one that is open."""
        self.loaded = False
        self.call("Page.navigate", url=address)
        while not self.loaded:
            self._next()

    def script(self, enabled: bool) -> None:
        self.call("Emulation.setScriptExecutionDisabled", value=not enabled)

    def size(self, width: int, height: int = 800, dark: bool = False) -> None:
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def value(self, expression: str):
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(answer["exceptionDetails"]["exception"]["description"])
        return answer["result"].get("value")

    def press(self, key: str, times: int = 1) -> None:
        for _ in range(times):
            self.call("Input.dispatchKeyEvent", type="keyDown", key=key, **KEYS[key])
            self.call("Input.dispatchKeyEvent", type="keyUp", key=key, **KEYS[key])

    def picture(self, file: Path) -> None:
        file.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))


@contextlib.contextmanager
def browser():
    """Yields a Page; the browser ends with the block."""
    commands, answers = os.pipe(), os.pipe()  # (end to read, end to write) of each
    command = [
        program(),
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--no-first-run",
        "--remote-debugging-pipe",
    ]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:

        def hand_over() -> None:  # the protocol's pipes are file descriptors 3 and 4
            read, write = os.dup(commands[0]), os.dup(answers[1])
            high = [os.dup2(read, 103), os.dup2(write, 104)]
            os.dup2(high[0], 3)
            os.dup2(high[1], 4)

        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        process = subprocess.Popen(
            [*command, f"--user-data-dir={profile}"], preexec_fn=hand_over, close_fds=False, **quiet
        )
        os.close(commands[0])
        os.close(answers[1])
        try:
            yield Page(answers[0], commands[1])
        finally:
            process.terminate()
            process.wait(20)
            os.close(answers[0])
            os.close(commands[1])
