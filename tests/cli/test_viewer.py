"""ns-viewer in a browser: the picture comes up, and the scene dropdown changes it."""

import io
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import Callable, Iterator, TypeVar

import numpy as np
import pytest
from official import PROGRAMS
from PIL import Image

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--window-size=900,700"),
    *("--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--no-proxy-server"),
)
PATIENCE = 120.0
"""Seconds to wait for anything; a busy machine renders slowly."""

READY = "disabled local writer"
"""What ns-viewer prints when its panel is built; a page that is opened before may meet half of it."""

Result = TypeVar("Result")


def wait_for(what: str, ask: Callable[[], Result]) -> Result:
    """Asks until the answer is true, and returns it."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        answer = ask()
        if answer:
            return answer
        time.sleep(0.5)
    raise AssertionError(f"{what}: expected within {PATIENCE:.0f} s, did not happen")


def is_open(port: int) -> bool:
    """Whether something listens on a port of this machine."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def viewer(rgb_run, tmp_path) -> Iterator[str]:
    """Address of ns-viewer on the triplane run; the process and its children are ended afterwards."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = tmp_path / "viewer.log"
    place = ["--viewer.websocket-host", "127.0.0.1", "--viewer.websocket-port", str(port)]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(PROGRAMS / "ns-viewer"), "--load-config", str(rgb_run), *place],
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"},
            start_new_session=True,
        )
    try:
        wait_for("ns-viewer", lambda: (is_open(port) and READY in log.read_text()) or process.poll() is not None)
        assert process.poll() is None, log.read_text()[-3000:]
        yield f"http://127.0.0.1:{port}"
        assert process.poll() is None, log.read_text()[-3000:]
        assert "Traceback" not in log.read_text(), log.read_text()[-3000:]
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.fixture
def browser(tmp_path):
    """A headless Chromium with a fresh profile."""
    if CHROMIUM is None or DRIVER is None:
        pytest.skip("no chromium and chromedriver on PATH (Debian: apt install chromium chromium-driver)")
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, f"--user-data-dir={tmp_path / 'profile'}"):
        options.add_argument(flag)
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    driver.set_page_load_timeout(PATIENCE)
    driver.set_script_timeout(PATIENCE)
    yield driver
    driver.quit()


def screenshot(browser) -> np.ndarray:
    """The page as RGB."""
    return np.asarray(Image.open(io.BytesIO(browser.get_screenshot_as_png())).convert("RGB")).astype(int)


def share(picture: np.ndarray, channel: int) -> float:
    """Share of pixels in which a channel is much larger than both others."""
    others = np.delete(picture, channel, axis=2).max(axis=2)
    return float((picture[..., channel] > others + 60).mean())


def hide_photos(browser) -> None:
    """Presses the button that hides the training photos, which are as red and blue as the scenes.

    Nerfstudio's server breaks off the connection if it is pressed before the photos are there.
    """
    from selenium.webdriver.common.by import By

    wait_for("photos or picture", lambda: max(share(screenshot(browser), c) for c in (0, 2)) > 0.001)
    wait_for("button", lambda: browser.find_elements(By.XPATH, "//button[contains(., 'Hide Train Cams')]"))[0].click()


def choose_scene(browser, name: str) -> None:
    """Chooses a scene in the dropdown `Scene`."""
    from selenium.webdriver.common.by import By

    label = "//label[normalize-space()='Scene']"
    (box, *_) = wait_for("dropdown", lambda: browser.find_elements(By.XPATH, f"{label}/following::input[1]"))
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", box)
    box.click()
    option = f"//*[@role='option'][normalize-space()='{name}']"
    wait_for("option", lambda: browser.find_elements(By.XPATH, option))[0].click()


def keep(picture: np.ndarray, name: str) -> None:
    """Leaves a screenshot where the variable LNS_SCREENSHOTS says, to look at."""
    folder = os.environ.get("LNS_SCREENSHOTS")
    if folder:
        Image.fromarray(picture.astype(np.uint8)).save(Path(folder) / f"{name}.png")


def test_the_scene_dropdown_changes_the_picture(browser, viewer):
    browser.get(viewer)
    hide_photos(browser)
    shots = {}
    for scene, channel in (("blue", 2), ("red", 0), ("blue", 2)):
        choose_scene(browser, scene)
        wait_for(f"picture of {scene}", lambda c=channel: share(screenshot(browser), c) > 0.01)
        time.sleep(1)
        shots[scene] = screenshot(browser)
        keep(shots[scene], scene)
    blue, red = shots["blue"], shots["red"]
    assert blue.std() > 5
    assert red.std() > 5
    assert (np.abs(blue - red).max(axis=2) > 60).mean() > 0.01
    assert share(red, 0) > share(blue, 0)
    assert share(blue, 2) > share(red, 2)
