"""Frames a second of the viewer while the camera moves.

    lns demo-scenes --output data/demo
    ns-train latent-triplane --data data/demo --pipeline.model.shared-bundle bundled
    python benchmarks/viewer.py --runs demo=outputs/demo/latent-triplane/DATE/config.yml

A camera circles the scene, and every frame is rendered as Nerfstudio's viewer renders it: in the viewer's own thread,
traced line by line so that it can be interrupted. With `--browser` also in a headless Chromium, whose camera is dragged
by the mouse: what is counted then are the frames that ns-viewer sent while it moved, at the size that it chose.
"""

import math
import os
import socket
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Callable, Dict, List, Sequence, Tuple

import tyro
from common import Numbers, Results, in_own_process, named, number, preamble, table, temporary_folder


@dataclass
class ViewerRates:
    """Renders frames of a moving camera, and counts."""

    runs: Tuple[str, ...]
    """Runs, `NAME=config.yml` each."""
    sizes: Tuple[int, ...] = (128, 256, 512)
    """Heights of the pictures, pixels."""
    stretches: int = 6
    """Stretches of frames, of which the fastest counts: other programs disturb the clock."""
    frames: int = 10
    """Frames of a stretch."""
    threads: int = 2
    """Threads of torch."""
    device: str = "cpu"
    """Where to render: `cpu` or `cuda`."""
    browser: bool = False
    """Also counts frames in a headless Chromium."""
    output: Path = Path("benchmarks/viewer.json")
    """Numbers; the page is written beside them."""

    def main(self) -> None:
        results = Results(self.output, page)
        for run in map(named, self.runs):
            for size in self.sizes:
                settings = {"run": run.name, "size": size, "threads": self.threads, "device": self.device}
                results.record(settings, lambda s=size, r=run: in_own_process(rendered, r.source, s, self))
                if self.browser:
                    settings = {**settings, "browser": True}
                    results.record(settings, lambda s=size, r=run: in_own_process(seen, r.source, s, self))
        print(self.output.with_suffix(".md").read_text(encoding="utf-8"))


def rendered(config: str, size: int, options: ViewerRates) -> Numbers:
    """Frames a second and CPU milliseconds a frame, in the viewer's thread but without a browser."""
    import torch
    from nerfstudio.utils.eval_utils import eval_setup
    from nerfstudio.viewer.render_state_machine import RenderStateMachine
    from nerfstudio.viewer_legacy.server.viewer_utils import SetTrace

    torch.set_num_threads(options.threads)
    frames, device = options.frames, options.device

    def on_device(settings: Any) -> Any:
        settings.pipeline.datamanager.device = device
        return settings

    pipeline = eval_setup(Path(config), test_mode="test", update_config_callback=on_device)[1]
    model: Any = pipeline.model.eval().to(device)
    cameras = circling(model.panel.photos.start(0), size, frames, device)
    seconds, cpu = [], []

    def trace(frame: Any, event: str, argument: Any) -> Any:
        return trace

    def stretch() -> None:
        for camera in cameras:
            with torch.no_grad(), SetTrace(trace):
                outputs = thread.viewer.get_model().get_outputs_for_camera(camera)
            outputs["rgb"].mul(255).byte().cpu()  # as the viewer takes it

    class Viewer(RenderStateMachine):
        """The viewer's thread, for which the model draws what the panel says."""

        def __init__(self) -> None:
            threading.Thread.__init__(self)
            panel = SimpleNamespace(output_render="rgb", split=False, max_res=size)
            self.viewer: Any = SimpleNamespace(control_panel=panel, get_model=lambda: model)
            self.state = "low_move"
            model.panel.adopt(self)

        def run(self) -> None:
            stretch()
            for _ in range(options.stretches):
                started, cpu_started = time.monotonic(), time.process_time()
                stretch()
                seconds.append((time.monotonic() - started) / frames)
                cpu.append((time.process_time() - cpu_started) / frames)

    thread = Viewer()
    thread.start()
    thread.join()
    return {"fps": 1 / min(seconds), "cpu_ms": 1000 * min(cpu), "load": os.getloadavg()[0]}


def circling(start: Any, size: int, count: int, device: str) -> List[Any]:
    """Cameras as the viewer makes them, on a circle through the pose that it starts with, about the upright axis."""
    import torch
    from nerfstudio.cameras.cameras import CameraType
    from nerfstudio.viewer.utils import CameraState, get_camera

    position, target, fov = (torch.as_tensor(part) for part in start)
    backward = torch.nn.functional.normalize(position - target, dim=0)
    right = torch.nn.functional.normalize(torch.linalg.cross(torch.tensor([0.0, 0.0, 1.0]), backward), dim=0)
    pose = torch.stack([right, torch.linalg.cross(backward, right), backward, position], dim=1)
    cameras = []
    for index in range(count):
        sine, cosine = (function(2 * math.pi * index / count) for function in (math.sin, math.cos))
        turn = torch.tensor([[cosine, -sine, 0.0], [sine, cosine, 0.0], [0.0, 0.0, 1.0]])
        state = CameraState(fov=float(fov), aspect=1.0, c2w=turn @ pose, camera_type=CameraType.PERSPECTIVE)
        cameras.append(get_camera(state, size, size).to(device))
    return cameras


def seen(config: str, size: int, options: ViewerRates) -> Numbers:
    """Frames a second that ns-viewer sends to a browser while the mouse drags the camera, and their median height."""
    import torch
    from nerfstudio.scripts.viewer.run_viewer import RunViewer, ViewerConfigWithoutNumRays
    from nerfstudio.viewer.render_state_machine import RenderStateMachine

    torch.set_num_threads(options.threads)
    sent: List[Tuple[float, int]] = []
    machines: List[Any] = []
    send = RenderStateMachine._send_output_to_viewer

    def send_and_count(machine: Any, outputs: Dict[str, Any], static_render: bool = True) -> None:
        send(machine, outputs, static_render)
        machines[:] = [machine]
        if machine.state == "low_move":
            sent.append((time.monotonic(), outputs["rgb"].shape[0]))

    RenderStateMachine._send_output_to_viewer = send_and_count  # type: ignore[method-assign]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    place = ViewerConfigWithoutNumRays(websocket_host="127.0.0.1", websocket_port=port, max_num_display_images=4)
    threading.Thread(target=RunViewer(Path(config), place).main, daemon=True).start()
    with temporary_folder() as profile:
        sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))
        from chromium import chromium

        with chromium(Path(profile)) as browser:
            waited(lambda: socket.socket().connect_ex(("127.0.0.1", port)) == 0)
            browser.get(f"http://127.0.0.1:{port}")
            waited(lambda: machines)
            machines[0].viewer.control_panel._max_res.value = size
            rates = [drag(browser, sent) for _ in range(options.stretches + 1)][1:]
            if not any(rate for rate, _, _ in rates):
                raise RuntimeError("viewer: expected frames while the mouse dragged, got none; see its output above")
    fps, height, cpu = max(rates)
    return {"fps": fps, "height": height, "cpu_ms": cpu, "load": os.getloadavg()[0]}


def waited(ask: Callable[[], Any], patience: float = 180.0) -> None:
    """Waits until the answer is true.

    Raises:
        TimeoutError: it never was.
    """
    end = time.monotonic() + patience
    while not ask():
        if time.monotonic() > end:
            raise TimeoutError(f"viewer: expected an answer within {patience:.0f} s, got none; see its output above")
        time.sleep(0.2)


def drag(browser: Any, sent: Sequence[Tuple[float, int]], seconds: float = 3.0) -> Tuple[float, int, float]:
    """Drags the camera for a while: frames a second that arrived meanwhile, their median height, and the milliseconds
    of CPU time that ns-viewer took for one."""
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.by import By

    canvas = browser.find_elements(By.TAG_NAME, "canvas")[0]
    moves = ActionChains(browser, duration=25).move_to_element(canvas).click_and_hold()
    for index in range(int(seconds / 0.025)):
        moves = moves.move_by_offset(3 if index // 20 % 2 == 0 else -3, 0)
    before, started, cpu = len(sent), time.monotonic(), time.process_time()
    moves.release().perform()
    frames = sent[before:]
    if not frames:
        return 0.0, 0, 0.0
    cpu_ms = 1000 * (time.process_time() - cpu) / len(frames)
    return len(frames) / (frames[-1][0] - started), sorted(height for _, height in frames)[len(frames) // 2], cpu_ms


def page(results: Results) -> str:
    """The page of all records."""
    found = results.find(browser=True)
    rows = []
    for settings, numbers in results.find():
        if "browser" not in settings:
            shown = next((n for s, n in found if s == {**settings, "browser": True}), None)
            browser = [number(shown, name, form) for name, form in IN_BROWSER.items()]
            rows.append([*cells(settings, numbers), *browser])
    head = ("run", "height", "device", "threads", "frames a second", "CPU ms a frame", "load")
    more = ("in Chromium", "at height", "CPU ms a frame", "load")
    return "\n".join([*preamble("Viewer"), *ABOUT, "", *table((*head, *more), rows), ""])


IN_BROWSER = {"fps": "{:.1f}", "height": "{}", "cpu_ms": "{:.1f}", "load": "{:.1f}"}
"""Numbers in a browser, and their form."""

ABOUT = [
    "Frames of a circling camera, rendered as Nerfstudio's viewer renders them while the camera moves. Load is that of",
    "the machine, on which other programs ran: the fastest stretch is shown, and the CPU time of a frame beside it.",
    "In Chromium: frames that ns-viewer sent while the mouse dragged the camera, with `Max res` at the height, and the",
    "median height that they had: Nerfstudio lowers it to come to 30 frames a second, to 128 at least in a latent",
    "space. Chromium draws on the same cores.",
]


def cells(settings: Dict[str, Any], numbers: Numbers) -> List[str]:
    """First cells of a row."""
    what = [settings["run"], str(settings["size"]), settings["device"], str(settings["threads"])]
    return [*what, *(number(numbers, name, "{:.1f}") for name in ("fps", "cpu_ms", "load"))]


if __name__ == "__main__":
    tyro.cli(ViewerRates).main()
