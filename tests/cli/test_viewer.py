"""ns-viewer in a browser: the picture comes up, every element and the mouse change it, and an error does not end it."""

import io
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Iterator, Tuple

import numpy as np
import pytest
from breakable_viewer import LONGER_SIDE
from chromium import PATIENCE, chromium, programs, wait_for
from official import free_port, is_open
from PIL import Image

READY = "disabled local writer"
"""What ns-viewer prints when its panel is built; a page that is opened before may meet half of it."""

FULL_SIZE = re.compile(rf"Resolution: ({LONGER_SIDE}x\d+|\d+x{LONGER_SIDE})px")
"""What the page says once the camera rests; before, Nerfstudio sends coarse pictures, for long on a busy machine."""


@pytest.fixture
def viewer(rgb_run, tmp_path) -> Iterator[Tuple[str, Path, Path]]:
    """Address of ns-viewer on the triplane run, a file that lets frames fail while it is there, and the log.

    The process and its children are ended afterwards."""
    port = free_port()
    log, fault, script = tmp_path / "viewer.log", tmp_path / "fault", Path(__file__).parent / "breakable_viewer.py"
    place = ["--viewer.websocket-host", "127.0.0.1", "--viewer.websocket-port", str(port)]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, str(script), str(fault), "--load-config", str(rgb_run), *place],
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"},
            start_new_session=True,
        )
    try:
        wait_for("ns-viewer", lambda: (is_open(port) and READY in log.read_text()) or process.poll() is not None)
        assert process.poll() is None, log.read_text()[-3000:]
        yield f"http://127.0.0.1:{port}", fault, log
        assert process.poll() is None, log.read_text()[-3000:]
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.fixture
def browser(tmp_path):
    """A headless Chromium with a fresh profile."""
    if programs() is None:
        pytest.skip("no chromium and chromedriver on PATH (Debian: apt install chromium chromium-driver)")
    with chromium(tmp_path / "profile", patience=PATIENCE) as driver:
        yield driver


def screenshot(browser) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(browser.get_screenshot_as_png())).convert("RGB")).astype(int)


def share(picture: np.ndarray, channel: int) -> float:
    """Share of pixels in which a channel is much larger than both others."""
    others = np.delete(picture, channel, axis=2).max(axis=2)
    return float((picture[..., channel] > others + 60).mean())


def hide_photos(browser) -> None:
    """Presses the button that hides the training photos, which are as red and blue as the scenes. Nerfstudio's server
    breaks off the connection if it is pressed before the photos are there."""
    wait_for("photos or picture", lambda: max(share(screenshot(browser), c) for c in (0, 2)) > 0.001)
    wait_for("button", lambda: browser.find_elements("xpath", "//button[contains(., 'Hide Train Cams')]"))[0].click()


def element(browser, label: str, kind: str = "input[1]") -> Any:
    """The element of the panel beside a label."""
    path = f"//label[normalize-space()='{label}']/following::{kind}"
    (found, *_) = wait_for(label, lambda: browser.find_elements("xpath", path))
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", found)
    return found


def choose(browser, label: str, name: str) -> None:
    element(browser, label).click()
    path = f"//*[@role='option'][normalize-space()='{name}']"
    options = wait_for(name, lambda: [o for o in browser.find_elements("xpath", path) if o.is_displayed()])
    options[0].click()


def slide(browser, label: str, value: float) -> None:
    """Types a value beside a slider."""
    from selenium.webdriver.common.keys import Keys

    box = element(browser, label, "input[not(@type='hidden')][1]")
    box.send_keys(Keys.CONTROL, "a")
    box.send_keys(str(value), Keys.ENTER)


def drag(browser, right: int) -> None:
    """Turns the camera by dragging over the picture."""
    from selenium.webdriver.common.action_chains import ActionChains

    canvas = browser.find_element("tag name", "canvas")
    ActionChains(browser).move_to_element(canvas).click_and_hold().move_by_offset(right, 20).release().perform()


def settled(browser, name: str) -> np.ndarray:
    """The rendered picture without the panel, of full size, once it has been the same for half a second."""
    last = np.zeros(0)

    def same() -> bool:
        nonlocal last
        before, last = last, screenshot(browser)[60:, :570]
        time.sleep(0.5)
        still = before.shape == last.shape and float(np.abs(before - last).mean()) < 0.3
        return still and bool(FULL_SIZE.search(browser.page_source))

    wait_for(f"picture of {name}", same)
    return last


def other_than(browser, name: str, *others: np.ndarray) -> np.ndarray:
    """The picture, once it is none of others; what was chosen is seen only when its frame has come."""
    return wait_for(name, lambda: [p for p in [settled(browser, name)] if all(differ(p, other) for other in others)])[0]


def differ(one: np.ndarray, other: np.ndarray) -> bool:
    """Whether more than one in a hundred pixels have another colour."""
    return bool((np.abs(one - other).max(axis=2) > 40).mean() > 0.01)


def show(browser, scene: str, channel: int) -> np.ndarray:
    """The picture of a scene that has a colour."""
    choose(browser, "Scene", scene)
    wait_for(f"picture of {scene}", lambda: share(screenshot(browser), channel) > 0.03)
    return settled(browser, scene)


def test_a_session_in_the_browser(browser, viewer):
    address, fault, log = viewer
    browser.get(address)
    hide_photos(browser)
    blue = red = np.zeros(0)

    def comes_back() -> bool:
        """Not while the page is being laid out: its first frames are of another aspect, between bars."""
        nonlocal blue, red
        blue, red = show(browser, "blue", 2), show(browser, "red", 0)
        return not differ(show(browser, "blue", 2), blue)

    wait_for("the same picture again", comes_back)
    assert differ(blue, red)

    choose(browser, "Blend with", "red")
    slide(browser, "Blend", 0.5)
    other_than(browser, "blend", blue, red)
    slide(browser, "Blend", 0)
    wait_for("blue again", lambda: not differ(settled(browser, "rgb"), blue))

    outputs = [blue]
    for name in ("depth", "accumulation", "photo", "render_and_photo"):
        choose(browser, "Output type", name)
        outputs.append(other_than(browser, name, *outputs))
    assert all(picture.std() > 5 for picture in outputs)
    choose(browser, "Output type", "latent")  # in RGB the same as the picture
    wait_for("latent", lambda: not differ(settled(browser, "latent"), blue))

    choose(browser, "Output type", "depth")
    wait_for("depth again", lambda: not differ(settled(browser, "before"), outputs[1]))
    drag(browser, 150)
    moved = other_than(browser, "moved", outputs[1])

    fault.touch()
    drag(browser, 50)
    wait_for("a message", lambda: "this fault is on purpose" in browser.page_source)
    broken = other_than(browser, "broken", moved)
    assert broken.std() > 1 and log.read_text().count("RuntimeError: this fault is on purpose") == 1
    fault.unlink()
    drag(browser, 50)
    other_than(browser, "after", broken)
    assert log.read_text().count("Traceback") == 1
