"""Whether memory stays flat: 10,000 training steps, 1,000 frames of the viewer, 500 scenes fitted in turn.

    python benchmarks/leaks.py

Each in a process of its own, on generated scenes that are as small as they come: what leaks does so once a step, a
frame or a scene, whatever their size. Memory is what the system counts as this process's own (RSS) after a collection
of garbage; beside it, how many objects Python keeps.
"""

import copy
import gc
import itertools
import math
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Callable, Dict, List, Tuple

import tyro
from common import Numbers, Results, after_each_step, in_own_process, preamble, table, temporary_folder

VIEWS, SIDE = 6, 32
"""Of a generated scene: pictures, and pixels of their sides."""

SAMPLES = 100
"""How often memory is looked at."""

WARM_UP = 0.2
"""Share of the units before memory is compared: libraries fill their caches, and the allocator its arenas."""

LEAST_SHOWN = 50.0
"""Megabytes up and down that a curve's picture shows at least."""

MAX_FRAME = 48
"""Pixels of a frame's side."""


@dataclass
class Leaks:
    """Measures memory over steps, frames and scenes."""

    steps: int = 10_000
    """Steps of one training with both stages, checkpoints, pictures and evaluations; 0 leaves them out."""
    frames: int = 1_000
    """Frames that the viewer's render thread draws and packs while scenes, blends and cameras change."""
    scenes: int = 500
    """Scenes that `lns fit-scenes` fits in one process, one a chunk."""
    output: Path = Path("benchmarks/leaks.json")
    """Numbers; page and curves are written beside them."""
    resume: bool = False
    """Keep what an earlier call has measured."""

    def main(self) -> None:
        results = Results(self.output, page, self.resume)
        units = {"steps": self.steps, "frames": self.frames, "scenes": self.scenes}
        for name, count in units.items():
            if count:
                results.record({"what": name, "units": count}, lambda n=name, c=count: in_own_process(follow, n, c))
        results.write()
        draw(results, self.output.with_suffix(".png"))
        print(self.output.with_suffix(".md").read_text(encoding="utf-8"))


class Memory:
    """Looks at the memory of this process now and then.

    Args:
        what: is counted.
        count: of all units.
    """

    def __init__(self, what: str, count: int):
        self.what, self.count, self.every = what, count, max(1, count // SAMPLES)
        self.rows: List[Tuple[int, int, int]] = []
        self.started = time.monotonic()

    def after(self, done: int) -> None:
        """Takes a sample where one is due.

        Args:
            done: units so far.
        """
        import psutil

        if done % self.every:
            return
        gc.collect()
        self.rows.append((done, psutil.Process().memory_info().rss, len(gc.get_objects())))
        if done % (10 * self.every) == 0:
            print(f"{done}/{self.count} {self.what}: {self.rows[-1][1] / 1e6:.1f} MB, {self.rows[-1][2]:,} objects")

    def numbers(self) -> Numbers:
        """Samples as `done`, `bytes` and `objects`, and the seconds of all."""
        done, sizes, objects = zip(*self.rows, strict=True)
        return {"done": done, "bytes": sizes, "objects": objects, "seconds": time.monotonic() - self.started}


def follow(what: str, count: int) -> Numbers:
    """Memory over some units of a kind, in this process."""
    import torch

    from latent_nerfstudio.cli.making import DemoScenes

    torch.set_num_threads(1)
    memory = Memory(what, count)
    with temporary_folder() as folder:
        data = Path(folder) / "data"
        DemoScenes(output=data, num_scenes=2, views=VIEWS, size=SIDE, workers=1).main()
        KINDS[what](data, Path(folder), memory)
    return memory.numbers()


# Steps


def follow_steps(data: Path, folder: Path, memory: Memory) -> None:
    """A training of both stages, with all that a training does beside its steps."""
    trainer = tiny_training(data, folder, memory.count).setup()
    trainer.setup()
    after_each_step(trainer, lambda step: memory.after(step + 1))
    trainer.train()


def tiny_training(data: Path, folder: Path, steps: int) -> Any:
    """The config of `latent-triplane` with small planes and short intervals."""
    from latent_nerfstudio.method_configs.triplane import latent_triplane

    config: Any = copy.deepcopy(latent_triplane.config)
    config.output_dir, config.experiment_name, config.timestamp = folder, "run", "now"
    config.max_num_iterations, config.vis, config.machine.device_type = steps, "tensorboard", "cpu"
    config.steps_per_save = config.steps_per_pictures = config.steps_per_eval_image = max(1, steps // 20)
    config.pipeline.rgb_alignment_start = steps // 2
    config.pipeline.crop, config.pipeline.whole_pictures_start = 16, None
    manager, nerf = config.pipeline.datamanager, config.pipeline.model.nerf
    manager.data, manager.latent_cache, manager.rays_per_batch, manager.images_per_batch = data, "memory", 64, 1
    nerf.num_samples, nerf.field.resolution, nerf.field.num_base_planes = 8, 8, 2
    return config


# Frames


def follow_frames(data: Path, folder: Path, memory: Memory) -> None:
    """Nerfstudio's viewer and its render thread; a stand-in for the browser takes what is packed for it."""
    from nerfstudio.viewer.viewer import VISER_NERFSTUDIO_SCALE_RATIO, Viewer

    config = tiny_training(data, folder, 1)
    config.vis = "none"
    trainer = config.setup()
    trainer.setup()
    viewer = Viewer(config.viewer, folder / "viewer.log", data, trainer.pipeline, trainer, trainer.train_lock)
    viewer.control_panel._max_res.value = MAX_FRAME
    browser = StandInBrowser(viewer.viser_server)
    machine = render_thread(viewer, VISER_NERFSTUDIO_SCALE_RATIO, browser)
    machine.start()
    try:
        for done in range(1, memory.count + 1):
            change_panel(trainer.pipeline.model.panel, viewer.control_panel, done)
            browser.next_frame(machine, done)
            memory.after(done)
    finally:
        machine.running = False
        machine.join()
        viewer.viser_server.stop()
    if trainer.pipeline.model.panel.last_error:
        raise RuntimeError(f"viewer: expected frames, got {trainer.pipeline.model.panel.last_error}")


class StandInBrowser:
    """What the render thread knows of a browser: its camera, and where its background picture goes.

    Args:
        server: the viewer's; pictures are packed and put into its messages, which no browser fetches.
    """

    def __init__(self, server: Any):
        self.camera = SimpleNamespace(aspect=1.0)
        self.scene = SimpleNamespace(set_background_image=self.take)
        self.server, self.shown = server, threading.Event()

    def take(self, *arguments: Any, **more: Any) -> None:
        """Gets a frame."""
        self.server.scene.set_background_image(*arguments, **more)
        self.shown.set()

    def add_notification(self, *arguments: Any, **more: Any) -> None:
        """Gets a message, which `last_error` of the panel also has."""

    def next_frame(self, machine: Any, number: int) -> None:
        """Moves the camera and waits for its frame.

        Raises:
            TimeoutError: none comes.
        """
        from nerfstudio.viewer.render_state_machine import RenderAction

        self.shown.clear()
        machine.action(RenderAction("move", camera_state(number)))
        if not self.shown.wait(120):
            raise TimeoutError(f"frame {number}: expected within 120 s, got none; look at the messages above")


def render_thread(viewer: Any, scale: float, browser: StandInBrowser) -> Any:
    """The viewer's render thread, which moves alone wake: it asks no browser for its camera while it waits."""
    from nerfstudio.viewer.render_state_machine import RenderStateMachine

    viewer.get_camera_state = lambda client: camera_state(0)
    return RenderStateMachine(viewer, scale, browser)  # type: ignore[arg-type]


def camera_state(number: int) -> Any:
    """A camera on a circle around the scene."""
    import torch
    from nerfstudio.cameras.cameras import CameraType
    from nerfstudio.viewer.utils import CameraState

    angle = 0.1 * number
    cos, sin = math.cos(angle), math.sin(angle)
    pose = torch.tensor([[-sin, 0.0, cos, 3 * cos], [cos, 0.0, sin, 3 * sin], [0.0, 1.0, 0.0, 0.0]])
    return CameraState(fov=0.7, aspect=1.0, c2w=pose, camera_type=CameraType.PERSPECTIVE)


def change_panel(panel: Any, control_panel: Any, number: int) -> None:
    """Other scenes, blends and outputs, by turns; each is other planes, of which some are kept for the next frame."""
    names = list(panel.index_of)
    panel.scene.value = names[number // 10 % len(names)]
    panel.share.value = round(0.02 * (number % 50), 2)
    outputs = ("rgb", "latent", "depth", "photo")
    if control_panel._output_render.options and "photo" in control_panel._output_render.options:
        control_panel._output_render.value = outputs[number // 5 % len(outputs)]


# Scenes


def follow_scenes(data: Path, folder: Path, memory: Memory) -> None:
    """Chunks of one scene, as `lns fit-scenes --chunk 1` has them fitted by one worker."""
    from latent_nerfstudio.fleet.fit_chunk import fit_chunk
    from latent_nerfstudio.fleet.request import FitRequest
    from latent_nerfstudio.fleet.settings import ChunkJob, resolved
    from latent_nerfstudio.method_configs.triplane import latent_triplane

    sources = itertools.cycle(sorted(data.iterdir()))
    many = folder / "many"
    many.mkdir()
    for number, source in zip(range(memory.count), sources, strict=False):
        (many / f"{number:04d}").symlink_to(source)
    request = FitRequest(many, folder / "out", steps=4, rgb_alignment_start=2, rays_per_scene=64, latent_cache="memory")
    method: Any = latent_triplane.config
    inventory = resolved(request, method)
    for number in range(memory.count):
        (row,) = fit_chunk(ChunkJob(inventory, (f"{number:04d}",)))
        if row.state != "done":
            raise RuntimeError(f"scene {number}: expected to be done, got {row}")
        memory.after(number + 1)


KINDS: Dict[str, Callable[[Path, Path, Memory], None]] = {
    "steps": follow_steps,
    "frames": follow_frames,
    "scenes": follow_scenes,
}
"""What is followed, by name."""


# The page


def fitted_slope(xs: List[float], ys: List[float]) -> Tuple[float, float]:
    """Slope of the straight line through points by least squares, and its standard error; both 0 for under 3 points.

    The error takes the samples as independent, which memory's are not: it is too small rather than too large.
    """
    count = len(xs)
    if count < 3:
        return 0.0, 0.0
    x0, y0 = sum(xs) / count, sum(ys) / count
    spread = sum((x - x0) ** 2 for x in xs)
    slope = sum((x - x0) * (y - y0) for x, y in zip(xs, ys, strict=True)) / spread
    rest = sum((y - y0 - slope * (x - x0)) ** 2 for x, y in zip(xs, ys, strict=True))
    return slope, math.sqrt(rest / (count - 2) / spread)


def after_warm_up(numbers: Numbers) -> Tuple[List[float], List[float], List[int]]:
    """Units, megabytes and objects of the samples after the warm-up."""
    end = WARM_UP * numbers["done"][-1]
    kept = [row for row in zip(numbers["done"], numbers["bytes"], numbers["objects"], strict=True) if row[0] >= end]
    return [float(row[0]) for row in kept], [row[1] / 1e6 for row in kept], [row[2] for row in kept]


HEAD = ("units", "after warm-up, MB", "at the end, MB", "most, MB", "slope, KB a unit", "objects, from and to", "min")


def page(results: Results) -> str:
    """The page of all records."""
    rows = [row_of(record["settings"], record["numbers"]) for record in results.records]
    lines = [
        *preamble("Memory over time"),
        f"Scenes of {VIEWS} views of {SIDE} x {SIDE} pixels, one thread. Resident memory after a collection of",
        f"garbage, {SAMPLES} samples; the first {WARM_UP:.0%} of the units are warm-up. Slopes are of a straight line",
        "through the rest, with its standard error. Objects are those that Python's collector keeps.",
        "",
        *table(HEAD, rows),
        "",
        "![Memory against that after warm-up, over steps, frames and scenes](leaks.png)",
        "",
    ]
    return "\n".join(lines)


def row_of(settings: Dict[str, Any], numbers: Numbers) -> List[str]:
    """A row of the table."""
    done, sizes, objects = after_warm_up(numbers)
    slope, error = fitted_slope(done, sizes)
    what = f"{settings['units']:,} {settings['what']}"
    megabytes = [f"{size:.1f}" for size in (sizes[0], sizes[-1], max(sizes))]
    line = f"{1e3 * slope:+.3f} ± {1e3 * error:.3f}"
    return [what, *megabytes, line, f"{objects[0]:,}, {objects[-1]:,}", f"{numbers['seconds'] / 60:.0f}"]


def draw(results: Results, path: Path) -> None:
    """Curves of all records side by side: megabytes more or less than after the warm-up."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    count = len(results.records)
    figure, axes = pyplot.subplots(1, count, figsize=(4 * count, 3), squeeze=False, layout="constrained")
    for axis, record in zip(axes[0], results.records, strict=True):
        numbers, first = record["numbers"], after_warm_up(record["numbers"])[1][0]
        change = [size / 1e6 - first for size in numbers["bytes"]]
        axis.plot(numbers["done"], change, color="#3b5bdb", linewidth=1.8)
        axis.axvspan(0, WARM_UP * numbers["done"][-1], color="#868e96", alpha=0.15, linewidth=0)
        axis.axhline(0, color="#868e96", linewidth=0.8)
        axis.set(xlabel=record["settings"]["what"], ylim=(-LEAST_SHOWN, max(LEAST_SHOWN, 1.1 * max(change))))
        axis.set(xlim=(0, numbers["done"][-1]), title=f"{first:.0f} MB after warm-up")
        axis.spines[["top", "right"]].set_visible(False)
    axes[0][0].set_ylabel("change of resident memory, MB")
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    tyro.cli(Leaks).main()
