"""The page of a gallery: what it holds, and what it does in a browser at the width of a desk and of a phone."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from chromium import chromium, programs, wait_for
from PIL import Image
from tiny import latent_model_of, small_nerf

from latent_nerfstudio.api.cameras import Ring
from latent_nerfstudio.api.scenes import Scenes
from latent_nerfstudio.gallery.page import STRIPS, check_strip, page, row, strip, write_gallery

FIRST = f"{STRIPS}/00000.webp"
HOSTILE = "</script><img src=x onerror=document.title='broken'>&\"' [/red]\u2028\u202e"


def test_numbers_that_no_strip_has():
    for views, size in ((0, 64), (24, 8), (200, 128)):
        with pytest.raises(ValueError, match=f"gallery: expected .* got {views} views of {size}; lower"):
            check_strip(views, size)


def test_a_gallery_of_learned_scenes(kl, tmp_path):
    ring = Ring(radius=2.2, height=16, width=16, focal=(18.0, 18.0))
    facts = {"a": {"psnr": 31.257}, "b": {"psnr": float("nan")}}
    nerf = small_nerf(density_scale=200.0)
    scenes = Scenes(latent_model_of(kl, nerf=nerf), "here", rings={"a": ring, "b": ring}, facts=facts)
    written = write_gallery(tmp_path / "out", scenes, scenes.names, views=3, size=24)
    data = json.loads(re.search('type="application/json">(.*)</script>', written.read_text())[1])
    assert data["scenes"] == [
        {"name": "a", "file": "strips/00000.webp", "psnr": 31.26, "bytes": scenes.model.scene_bytes()},
        {"name": "b", "file": "strips/00001.webp", "psnr": None, "bytes": scenes.model.scene_bytes()},
    ]
    with Image.open(tmp_path / "out" / "strips" / "00000.webp") as image:
        assert image.size == (72, 24) == strip(scenes, "a", 3, 24).shape[1::-1]
    write_gallery(tmp_path / "out", scenes, ["b"], views=3, size=24)
    assert len(list((tmp_path / "out" / STRIPS).iterdir())) == 1
    (tmp_path / "out" / "mine.txt").write_text("kept")
    with pytest.raises(FileExistsError, match="mine.txt"):
        write_gallery(tmp_path / "out", scenes, ["b"], views=3, size=24)


@pytest.fixture(scope="module")
def thousand(tmp_path_factory) -> Path:
    """A page of a thousand scenes with one hostile name, whose strips go from red to blue."""
    folder = tmp_path_factory.mktemp("gallery")
    (folder / STRIPS).mkdir()
    colours = np.linspace([220, 40, 40], [40, 40, 220], 12).astype(np.uint8)
    Image.fromarray(np.tile(np.repeat(colours, 64, axis=0), (64, 1, 1))).save(folder / FIRST)
    names = [HOSTILE if index == 7 else f"chair {index}" for index in range(1000)]
    rows = [row(name, {"psnr": 20 + index % 97 / 10}, 1000 + index, FIRST) for index, name in enumerate(names)]
    (folder / "index.html").write_text(page("Chairs & <b>more</b> DATA", rows, 12), encoding="utf-8")
    return folder


@pytest.mark.skipif(programs() is None, reason="no chromium and chromedriver on PATH")
@pytest.mark.parametrize(("name", "width"), [("desk", 1280), ("phone", 390)])
def test_in_a_browser(thousand, tmp_path, name, width):
    from selenium.webdriver.common.action_chains import ActionChains

    with chromium(tmp_path, width, 900) as browser:
        phone = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": True}
        if name == "phone":
            browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", phone)
        browser.get((thousand / "index.html").as_uri())
        ask = browser.execute_script
        assert browser.title == "Chairs & <b>more</b> DATA" and ask("return document.querySelectorAll('b').length") == 0
        shown = "return [...document.querySelectorAll('figure:not([hidden]) .name')].map(n => n.textContent)"
        names = ask(shown)
        assert len(names) == 1000 and HOSTILE in names and names.index("chair 2") < names.index("chair 10")
        assert ask("return document.documentElement.scrollWidth <= innerWidth")  # nothing hangs over at the side
        columns = ask("return getComputedStyle(document.getElementById('grid')).gridTemplateColumns.split(' ').length")
        assert (columns >= 6) if name == "desk" else (columns == 2)
        loaded = "return [...document.images].filter(i => i.complete && i.naturalWidth).length"
        wait_for("pictures", lambda: ask(loaded) > 3)
        assert ask(loaded) < 500  # the others wait until they are near

        search = browser.find_element("id", "search")
        search.send_keys("CHAIR 99")
        assert len(ask(shown)) == 19  # 99, 199 to 899, 990 to 999
        assert ask("return document.getElementById('count').textContent") == "19 of 1000"
        search.clear()
        search.send_keys("onerror")
        assert ask(shown) == [HOSTILE]
        search.clear()
        search.send_keys("no such chair")
        assert ask(shown) == [] and browser.find_element("id", "none").is_displayed()
        ask("document.getElementById('search').value = ''; document.getElementById('sort').value = 'psnr';")
        ask("document.getElementById('sort').dispatchEvent(new Event('change'))")
        assert ask(shown)[0] == "chair 96" and len(ask(shown)) == 1000
        browser.find_element("id", "least").send_keys("29.5")
        assert len(ask(shown)) == 20  # two remainders of 97, ten times each

        stage = browser.find_element("css selector", "figure:not([hidden]) .stage")
        before = stage.get_attribute("aria-valuenow")
        ActionChains(browser).move_to_element(stage).click_and_hold().move_by_offset(-60, 0).release().perform()
        assert stage.get_attribute("aria-valuenow") != before
        assert browser.title != "broken" and not [e for e in browser.get_log("browser") if e["level"] == "SEVERE"]


@pytest.mark.skipif(programs() is None, reason="no chromium and chromedriver on PATH")
def test_scenes_without_psnr_are_not_filtered_by_it(tmp_path):
    (tmp_path / "index.html").write_text(page("Chairs", [row("chair", {}, 9, FIRST)], 12), encoding="utf-8")
    with chromium(tmp_path / "profile") as browser:
        browser.get((tmp_path / "index.html").as_uri())
        assert not browser.find_element("id", "least").is_displayed()
        offered = "return [...document.querySelectorAll('option:not([hidden])')].map(o => o.value)"
        assert browser.execute_script(offered) == ["name", "bytes", "largest"]
