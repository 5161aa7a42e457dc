"""What a newcomer sees of ns-viewer: the page that it serves and, where there is a Chromium, the first render in it."""

import io
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Callable, TypeVar

import numpy as np
from jaxtyping import Float
from PIL import Image

PATIENCE = 180.0
"""Seconds to wait for anything; a busy machine renders slowly."""

READY = "disabled local writer"
"""What ns-viewer prints when its panel is built; a page that is opened before may meet half of it."""

ADDRESS = re.compile(r"http://(?:localhost|127\.0\.0\.1|0\.0\.0\.0):(\d+)")

HIDE = "//button[contains(., 'Hide Train Cams')]"
"""The button that leaves the render alone on the page."""

Answer = TypeVar("Answer")


def look(process: "subprocess.Popen[bytes]", log: Path, picture: Path) -> int:
    """Opens what ns-viewer serves.

    Args:
        process: of ns-viewer.
        log: where it prints to.
        picture: file for a screenshot.

    Returns:
        0, or the exit code of an ns-viewer that did not live to serve.

    Raises:
        TimeoutError: nothing was served, or no render was seen.
    """
    waited("ns-viewer to be ready", lambda: READY in log.read_text("utf-8") or process.poll() is not None)
    if process.poll() is not None:
        return process.returncode
    address = f"http://localhost:{ADDRESS.findall(log.read_text('utf-8'))[-1]}"
    waited("a page", lambda: fetched(address))
    photograph(address, picture)
    return 0


def end(process: "subprocess.Popen[bytes]") -> None:
    """Ends a process that leads its own group, with all of the group."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def waited(what: str, ask: Callable[[], Answer]) -> Answer:
    """Waits until the answer is true, and returns it.

    Raises:
        TimeoutError: it never was.
    """
    last = time.monotonic() + PATIENCE
    while not (answer := ask()):
        if time.monotonic() > last:
            raise TimeoutError(f"expected {what} within {PATIENCE:.0f} s, got none")
        time.sleep(0.2)
    return answer


def fetched(address: str) -> bool:
    """Whether an address serves a page."""
    try:
        with urllib.request.urlopen(address, timeout=10) as page:
            return page.status == 200 and b"<html" in page.read()
    except (urllib.error.URLError, ConnectionError):
        return False


def photograph(address: str, picture: Path) -> None:
    """Saves what a headless Chromium shows, once it shows a render; says so where there is none."""
    sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))
    from chromium import chromium, programs

    if programs() is None:
        print("viewer: served, but left out in a browser: no selenium, or no chromium and chromedriver on PATH")
        return
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile, chromium(profile, 1180, 900) as browser:
        browser.get(address)
        waited("buttons", lambda: browser.find_elements("xpath", HIDE))[0].click()
        rendered(browser)
        browser.get_screenshot_as_file(str(picture))
    print(f"viewer: {picture}")


def rendered(browser: Any) -> None:
    """Waits until something is seen beside the background, twice the same.

    Raises:
        TimeoutError: nothing was.
    """
    last = np.zeros(0)

    def same() -> bool:
        nonlocal last
        before, last = last, view(browser)
        time.sleep(0.5)
        return shows(last) and before.shape == last.shape and float(np.abs(before - last).mean()) < 0.3

    waited("a render", same)


def view(browser: Any) -> Float[np.ndarray, "height width 3"]:
    """What the page shows left of its panel and below its head, in [0, 255]."""
    shot = Image.open(io.BytesIO(browser.get_screenshot_as_png())).convert("RGB")
    return np.asarray(shot, dtype=float)[60:, : int(0.7 * shot.width)]


def shows(picture: Float[np.ndarray, "height width 3"]) -> bool:
    """Whether more than 3 % of a picture are far from the colour of its corner; before the first render there are thin
    lines alone."""
    return bool((np.abs(picture - picture[0, 0]).max(axis=2) > 40).mean() > 0.03)
