"""The one place that starts a browser: a headless Chromium (Debian: apt install chromium chromium-driver)."""

import shutil
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Callable, Iterator, Optional, Tuple, Union

FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-proxy-server"),
    *("--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader"),
)
"""It draws on the CPU, and asks for nothing on its own."""


PATIENCE = 300.0
"""Seconds to wait for anything; a busy machine renders slowly."""


def wait_for(what: str, ask: Callable[[], Any]) -> Any:
    """Asks until the answer is true, and returns it."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        answer = ask()
        if answer:
            return answer
        time.sleep(0.5)
    raise AssertionError(f"{what}: expected within {PATIENCE:.0f} s, did not happen")


def programs() -> Optional[Tuple[str, str]]:
    """Chromium and its driver; None where one of them, or selenium, is not there."""
    from importlib.util import find_spec

    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    driver = shutil.which("chromedriver")
    return (browser, driver) if browser and driver and find_spec("selenium") else None


@contextmanager
def chromium(profile: Union[str, Path], width: int = 900, height: int = 700, patience: float = 120.0) -> Iterator[Any]:
    """A browser with a fresh profile in a window of some pixels, which waits seconds for pages and scripts; closed at
    the end."""
    found = programs()
    if found is None:
        raise FileNotFoundError("chromium: expected chromium, chromedriver and selenium, got less; install them")
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = found[0]
    for flag in (*FLAGS, f"--user-data-dir={profile}", f"--window-size={width},{height}"):
        options.add_argument(flag)
    driver = webdriver.Chrome(options=options, service=Service(found[1]))
    driver.set_page_load_timeout(patience)
    driver.set_script_timeout(patience)
    try:
        yield driver
    finally:
        driver.quit()
