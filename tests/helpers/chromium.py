"""Drive Chromium by its DevTools protocol over a pipe: real keys, phones, print, axe."""

from __future__ import annotations

import base64
import fcntl
import functools
import hashlib
import json
import os
import select
import shutil
import subprocess
import tarfile
import time
from pathlib import Path
from typing import Any

import pytest

from helpers.browser import CHROMIUM

__all__ = ["Chromium", "axe_source", "axe_violations"]

AXE = "axe-core@4.14.1"
AXE_SHA512 = (
    "FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ=="
)
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--remote-debugging-pipe", "about:blank"),
)
_SECONDS = 120


class Chromium:
    """A browser with one page."""

    def __init__(self, profile: Path) -> None:
        # The browser reads descriptor 3 and writes 4; ours must not be these.
        (theirs_in, ours_out), (ours_in, theirs_out) = os.pipe(), os.pipe()
        fds = [fcntl.fcntl(fd, fcntl.F_DUPFD, 20) for fd in (theirs_in, theirs_out)]
        for fd in (theirs_in, theirs_out):
            os.close(fd)
        command = ["bash", "-c", f'exec "$@" 3<&{fds[0]} 4>&{fds[1]}', "bash", CHROMIUM, *FLAGS]
        self._process = subprocess.Popen(
            [*command, f"--user-data-dir={profile}"], pass_fds=fds, stderr=subprocess.DEVNULL
        )
        for fd in fds:
            os.close(fd)
        self._in, self._out = ours_in, ours_out
        self._rest, self._number, self._session = b"", 0, None
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        self.call("Page.enable")

    def close(self) -> None:
        """End the browser."""
        os.close(self._out)  # it ends when its pipe does
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._in)

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Call a method of the protocol and return its result."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": params}
        if self._session is not None:
            message["sessionId"] = self._session
        self._write(json.dumps(message).encode() + b"\0")
        answer = self._wait(lambda m: m.get("id") == self._number)
        assert "error" not in answer, (method, answer["error"])
        return dict(answer["result"])

    def _write(self, data: bytes) -> None:
        while data:
            data = data[os.write(self._out, data) :]

    def _wait(self, wanted: Any) -> dict[str, Any]:
        until = time.monotonic() + _SECONDS
        while True:
            while b"\0" in self._rest:
                raw, _, self._rest = self._rest.partition(b"\0")
                message = json.loads(raw)
                if wanted(message):
                    return dict(message)
            ready, _, _ = select.select([self._in], [], [], max(0.0, until - time.monotonic()))
            assert ready, f"no answer of the browser within {_SECONDS} s"
            part = os.read(self._in, 1 << 20)
            assert part, "the browser ended"
            self._rest += part

    def open(self, page: Path, *, width: int, height: int, dark: bool = False) -> None:
        """Load a page in a window of this size; below 500 px it is a phone."""
        phone = width < 500
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=2 if phone else 1, mobile=phone,
        )  # fmt: skip
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", media="screen", features=[scheme])
        self.call("Page.navigate", url=page.as_uri())
        self._wait(lambda m: m.get("method") == "Page.loadEventFired")
        self.run("new Promise((done) => setTimeout(done, 300))")

    def run(self, expression: str) -> Any:
        """Evaluate JavaScript in the page, wait for a promise, and return its value."""
        answer = self.call(
            "Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def press(self, key: str, *, shift: bool = False) -> None:
        """Press a key as a person does."""
        codes = {"Tab": 9, "Enter": 13, "Escape": 27, " ": 32}
        more = {"text": "\r"} if key == "Enter" else {"text": " "} if key == " " else {}
        common = {"key": key, "windowsVirtualKeyCode": codes[key], "modifiers": 8 if shift else 0}
        kind = "keyDown" if more else "rawKeyDown"
        self.call("Input.dispatchKeyEvent", type=kind, **common, **more)
        self.call("Input.dispatchKeyEvent", type="keyUp", **common)

    def pdf(self) -> bytes:
        """Print the page, after what a page for the screen was emulated."""
        self.call("Emulation.setEmulatedMedia", media="")
        done = self.call("Page.printToPDF", printBackground=True)
        return base64.b64decode(done["data"])

    def picture(self, path: Path, *, whole: bool = False) -> None:
        """Write a screenshot as PNG."""
        done = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(done["data"]))


@functools.cache
def axe_source() -> str:
    """Return axe-core's script, from npm once; the test is skipped where it cannot be had."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "skyduel-tests"
    packed = cache / f"{AXE.replace('@', '-')}.tgz"
    if not packed.is_file():
        npm = shutil.which("npm")
        if npm is None:
            pytest.skip(f"no npm that could fetch {AXE}")
        cache.mkdir(parents=True, exist_ok=True)
        command = [npm, "pack", AXE, "--silent", "--pack-destination", str(cache)]
        try:
            subprocess.run(command, capture_output=True, timeout=120, check=True)
        except (subprocess.SubprocessError, OSError) as error:
            pytest.skip(f"npm cannot fetch {AXE}: {type(error).__name__}")
    digest = base64.b64encode(hashlib.sha512(packed.read_bytes()).digest()).decode()
    assert digest == AXE_SHA512, f"{packed} is another file than {AXE}"
    with tarfile.open(packed) as archive:
        file = archive.extractfile("package/axe.min.js")
        assert file is not None
        return file.read().decode()


def axe_violations(browser: Chromium, options: str = "{}") -> list[str]:
    """Return what axe-core finds wrong with the open page, a line for each rule."""
    browser.run(axe_source() + ";0")
    found = browser.run(
        f"axe.run(document, {{resultTypes: ['violations'], ...{options}}})"
        ".then((r) => r.violations.map((v) => "
        "[v.id, v.help, v.nodes.length, v.nodes.slice(0, 3).map((n) => n.html.slice(0, 200) + ' | '"
        " + n.failureSummary)]))"
    )
    return [json.dumps(one, ensure_ascii=False) for one in found]
