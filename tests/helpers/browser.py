"""Open a report page in Chromium, act on it as a reader would, and return the result."""

import html
import json
import re
import shutil
import subprocess

import pytest

from skyduel.reports.page.html_page import page_html
from skyduel.reports.page.interactive import interactive, page_scripts

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")


FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--enable-logging=stderr"),
    *("--v=0", "--virtual-time-budget=30000", "--window-size=1280,900", "--dump-dom"),
)


#: Acts as a reader does, and writes what came of it where the test reads it.
DRIVER = """
(async () => {
  const out = { errors: [] };
  window.requestAnimationFrame = (act) => setTimeout(act, 5); // no screen, no frames
  addEventListener("error", (e) => out.errors.push(String(e.message)));
  addEventListener("unhandledrejection", (e) => out.errors.push(String(e.reason)));
  addEventListener("securitypolicyviolation", (e) => out.errors.push(e.violatedDirective));
  const by = (id) => document.getElementById(id);
  const wait = (ms) => new Promise((done) => setTimeout(done, ms));
  const canvas = by("v-canvas");
  const place = async () => {
    await wait(700);
    return Object.fromEntries(new URLSearchParams(location.hash.slice(6)));
  };
  const event = (u, v, more) => {
    const box = canvas.getBoundingClientRect();
    const [clientX, clientY] = [box.left + u, box.top + v];
    return { clientX, clientY, bubbles: true, cancelable: true, ...more };
  };
  const pointer = (kind, u, v, more) => canvas.dispatchEvent(
    new PointerEvent(kind, event(u, v, { pointerId: 1, pointerType: "mouse", ...more })));
  const key = (k) => canvas.dispatchEvent(new KeyboardEvent("keydown", event(0, 0, { key: k })));
  const wheel = (u, v, deltaY) => !canvas.dispatchEvent(
    new WheelEvent("wheel", event(u, v, { deltaY })));
  const choose = (id, value) => {
    by(id).value = value;
    by(id).dispatchEvent(new Event("change"));
  };
  const counts = () => Object.fromEntries([...document.querySelectorAll("[id^=v-n-]")].map(
    (e) => [e.id.slice(4), Number(e.textContent)]));
  const pixels = async () => {
    await wait(100);
    const copy = document.createElement("canvas");
    [copy.width, copy.height] = [canvas.width, canvas.height];
    const context = copy.getContext("2d", { willReadFrequently: true });
    context.drawImage(canvas, 0, 0);
    const data = context.getImageData(0, 0, copy.width, copy.height).data;
    return data.reduce((sum, value) => (sum * 31 + value) % 1000000007, 0);
  };
  for (const id of ["gallery", "viewer"]) if (by(id)) by(id).querySelector("details").open = true;
  await wait(1000);
  try { await (async () => { ACTS })(); } catch (error) { out.errors.push(String(error.stack)); }
  const pre = document.createElement("pre");
  pre.id = "result";
  pre.textContent = JSON.stringify(out);
  document.body.append(pre);
})();
"""


def act(run, acts, tmp_path, hash_="", point="default"):
    """Open the run's page in a browser, act, and return what came of it."""
    parts = interactive(run, point)
    scripts = [*page_scripts(), *parts.scripts, DRIVER.replace("ACTS", acts)]
    source = page_html(run, [], gallery=parts.gallery, viewer=parts.viewer, scripts=scripts)
    page = tmp_path / "page.html"
    page.write_text(source, encoding="utf-8")
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", page.as_uri() + hash_]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=True)
    told = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    assert told == []
    out = json.loads(html.unescape(re.search(r'<pre id="result">(.*?)</pre>', done.stdout)[1]))
    assert out.pop("errors") == []
    return out
