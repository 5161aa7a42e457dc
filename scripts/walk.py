"""A newcomer's walk: from a clone to own photos, an inventory of meshes in a gallery, videos and scenes elsewhere, each
step as the docs say it.

    python scripts/walk.py FOLDER --page docs/walk.md

clones the repository that this file lies in into a fresh folder, installs it there, and runs the lines of docs/walk.md
one after another, with the empty caches of a machine that has seen nothing before. What they took becomes the table of
the page. The first line that fails ends the walk. `--toy` leaves out the installation, and trains and films just enough
to see that each line runs. `--photos` names photos without poses of your own; without it their step is left out.
"""

import datetime
import json
import os
import platform
import re
import resource
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Callable, Dict, List, Literal, Optional, Tuple

import tyro
from walk_viewer import end, look

from latent_nerfstudio.errors import problem
from latent_nerfstudio.files.replacing import write_text
from latent_nerfstudio.photos.process import SURROUNDINGS

ROOT = Path(__file__).resolve().parents[1]

CLONE = "latent-nerfstudio"
"""Folder of the clone."""

ELSEWHERE = "elsewhere"
"""Folder to which scenes are carried; it stands for another machine."""

RUN = "outputs/demo/latent-triplane/latest"
"""What `make demo` leaves in the clone."""

IMPORTED = "outputs/imported/latent-triplane/imported"
"""What `lns import-scenes` leaves elsewhere."""

TRAIN = "ns-train latent-triplane --data"
"""How every training begins."""

BRIEFLY = "--max-num-iterations 600 --timestamp latest --vis tensorboard"
"""Flags of a training that takes minutes and does not wait in the viewer when it is done."""

FEW = "--max-num-iterations 4 --pipeline.rgb-alignment-start 2 --steps-per-eval-image 1000"
"""Flags of a training that is over at once."""

TOY = {
    "make install": "true",
    "make demo": "lns demo-scenes --output data/demo --family mixed --views 6 --size 32 && "
    f"ns-train latent-triplane {FEW} --data data/demo --pipeline.model.shared-bundle bundled --experiment-name demo "
    "--timestamp latest --vis tensorboard",
    "--max-num-iterations 600": FEW,
    "--pipeline.rgb-alignment-start 400 --max-num-iterations 700": FEW,
    "lns render-meshes": "lns render-meshes --views 6 --size 32",
    "--count 20": "--count 3",
    "lns fit-scenes": "lns fit-scenes --steps 4",
    "lns gallery": "lns gallery --views 2 --size 32",
    "lns export-points": "lns export-points --views 2",
    "lns export-mesh": "lns export-mesh --views 2 --size 16 --level 1",
    "lns orbit": "lns orbit --views 2 --size 32",
    "lns blend": "lns blend --views 2 --size 32",
    "ns-render interpolate": "ns-render interpolate --interpolation-steps 1",
}
"""What words of lines become in a toy walk."""

PLACE = re.compile(r"(<!-- times -->\n).*(<!-- end of times -->)", re.S)
"""Of a page, the place of the table."""


@dataclass(frozen=True)
class Step:
    """Some lines of the walk that belong together."""

    lines: Tuple[str, ...]
    """As they stand in docs/walk.md."""
    place: str = CLONE
    """Folder that they are run in."""
    before: Optional[Callable[[Path], None]] = None
    """What the newcomer does beforehand with own hands, in the folder of the walk."""


@dataclass(frozen=True)
class Cost:
    """What a line took."""

    step: str
    """Name of its step."""
    line: str
    """As it stands in docs/walk.md."""
    seconds: float
    """Wall-clock."""
    cpu: float
    """CPU seconds of its processes."""
    load: float
    """Load of the machine in the minute before its end, its own included."""


def write_photos(folder: Path) -> None:
    """Makes data/photos as `ns-process-data` would have left it: photos of one thing, cut out, and the poses that
    COLMAP, which is not part of the walk, would have found; without a split and without a box."""
    source, target = folder / CLONE / "data/demo/car_0000", folder / CLONE / "data/photos"
    scene = json.loads((source / "transforms.json").read_text(encoding="utf-8"))
    (target / "images").mkdir(parents=True, exist_ok=True)
    frames = []
    for number, frame in enumerate(scene["frames"], 1):
        name = f"images/frame_{number:05d}.png"
        shutil.copy(source / frame["file_path"], target / name)
        frames.append({"file_path": name, "transform_matrix": frame["transform_matrix"], "colmap_im_id": number})
    camera = {name: scene[name] for name in ("w", "h", "fl_x", "fl_y", "cx", "cy")}
    lens = {"k1": 0.0, "k2": 0.0, "p1": 0.0, "p2": 0.0, "camera_model": "OPENCV"}
    made = {**camera, **lens, "frames": frames}
    (target / "transforms.json").write_text(json.dumps(made, indent=4), encoding="utf-8")


def carry(folder: Path) -> None:
    """Carries the exported scenes and their bundle elsewhere, and nothing else."""
    (folder / ELSEWHERE).mkdir(exist_ok=True)
    shutil.copy(folder / CLONE / "things.zip", folder / ELSEWHERE)
    shutil.copytree(folder / CLONE / "things", folder / ELSEWHERE / "things", symlinks=True)


StepName = Literal[
    "clone", "install", "demo", "viewer", "photos", "poses", "meshes", "inventory", "videos", "export", "elsewhere"
]

OPEN = (
    "import latent_nerfstudio as lns; scenes = lns.load('things.zip', bundle='things'); "
    "scenes.render('car_0000', scenes.orbit('car_0000', views=8)).save('pictures')"
)

STEPS: Dict[StepName, Step] = {
    "clone": Step((f"git clone {ROOT} {CLONE}",), place="."),
    "install": Step(("make install",)),
    "demo": Step(("make demo",)),
    "viewer": Step((f"ns-viewer --load-config {RUN}/config.yml",)),
    "photos": Step((f"{TRAIN} data/photos {BRIEFLY}",), before=write_photos),
    "poses": Step(
        (
            "pip install --quiet --editable '.[photos]'",
            "lns process-photos data/unposed --output data/posed",
            f"{TRAIN} data/posed --pipeline.datamanager.camera-res-scale-factor 0.5 {SURROUNDINGS} "
            "--timestamp latest --vis tensorboard nerfstudio-data",
        )
    ),
    "meshes": Step(
        (
            "python benchmarks/make_meshes.py data/meshes",
            "lns render-meshes data/meshes --output data/objects",
            f"{TRAIN} data/objects {BRIEFLY}",
        )
    ),
    "inventory": Step(
        (
            "python benchmarks/make_meshes.py data/twenty --count 20",
            "lns render-meshes data/twenty --output data/inventory",
            "lns fit-scenes data/inventory --output fitted",
            "lns gallery fitted --output gallery",
            "lns export-points fitted --scene king --output king.ply",
            "lns export-mesh fitted --scene king --output king.glb",
        )
    ),
    "videos": Step(
        (
            f"lns orbit {RUN} --output grid.mp4",
            f"lns blend {RUN} mug_0001 vase_0003 --output blend.mp4",
            f"ns-render interpolate --load-config {RUN}/config.yml --output-path path.mp4 "
            "--rendered-output-names rgb latent depth --order-poses True",
        )
    ),
    "export": Step((f"lns export-scenes {RUN} --output things.zip",)),
    "elsewhere": Step(
        (
            "lns import-scenes things.zip --bundle things --output outputs/imported --views 12",
            f"ns-render interpolate --load-config {IMPORTED}/config.yml --output-path imported.mp4 "
            "--pose-source train --order-poses True",
            f'python -c "{OPEN}"',
        ),
        place=ELSEWHERE,
        before=carry,
    ),
}
"""By name, in the order in which they are walked."""


@dataclass
class Walk:
    """Walks, and writes what each line took as a table."""

    folder: Annotated[Path, tyro.conf.Positional]
    """Folder to walk in; a later walk of the steps that are left may go on there."""
    steps: Tuple[StepName, ...] = tuple(STEPS)
    """The steps to walk; each needs those in front of it to have been walked."""
    page: Optional[Path] = None
    """Page to write the table into; without one it is printed alone."""
    photos: Optional[Path] = None
    """Folder of photos without poses, for the step `poses`."""
    toy: bool = False
    """Few views and iterations, and the running Python's packages instead of an installation."""
    costs: List[Cost] = field(default_factory=list, init=False)
    """Of the lines that are done."""

    def main(self) -> None:
        """Walks the steps in their order.

        Raises:
            SystemExit: a line failed.
        """
        self.folder = self.folder.resolve()
        if self.page is not None:
            check_page(self.page)
        (self.folder / "logs").mkdir(parents=True, exist_ok=True)
        try:
            for name, step in STEPS.items():
                if name in self.steps and (name != "poses" or self.photos is not None):
                    self.walk(name, step)
        finally:
            print("\n".join(table(self.costs)))
        if self.page is not None:
            write_table(self.page, self.costs)

    def walk(self, name: str, step: Step) -> None:
        """Walks one step.

        Raises:
            SystemExit: a line failed, or what it needs is not there.
        """
        log = self.folder / "logs" / f"{name}.log"
        log.unlink(missing_ok=True)
        try:
            if step.before is not None:
                step.before(self.folder)
            if name == "poses" and self.photos is not None:
                shutil.copytree(self.photos, self.folder / CLONE / "data" / "unposed", dirs_exist_ok=True)
            for line in step.lines:
                print(f"{name}: {line}", flush=True)
                started, cpu = time.monotonic(), cpu_seconds()
                self.run(name, line, self.folder / step.place, log)
                seconds = time.monotonic() - started
                self.costs.append(Cost(name, line, seconds, cpu_seconds() - cpu, os.getloadavg()[0]))
        except OSError as error:
            raise SystemExit(f"step {name}: {error}; see {log}") from error

    def run(self, name: str, line: str, place: Path, log: Path) -> None:
        """Runs a line to its end, or looks at what it serves.

        Raises:
            SystemExit: it failed.
            TimeoutError: it served nothing.
        """
        line = toy_line(line) if self.toy else line
        with log.open("a", encoding="utf-8") as output:
            print(f"$ {line}", file=output, flush=True)
            process: subprocess.Popen[bytes] = subprocess.Popen(
                ["bash", "-c", line],
                cwd=place,
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            code = look(process, log, self.folder / "viewer.png") if name == "viewer" else process.wait()
        finally:
            end(process)
        if code != 0:
            raise SystemExit(problem(f"step {name}", f"`{line}` to end with 0", code, f"see {log}"))

    def environment(self) -> Dict[str, str]:
        """A newcomer's: with the clone's environment activated, without that of the running Python, and no caches."""
        own = Path(sys.executable).parent
        programs = own if self.toy else self.folder / CLONE / ".venv" / "bin"
        others = [place for place in os.environ["PATH"].split(os.pathsep) if Path(place) != own]
        path = os.pathsep.join([str(programs), *others])
        return {**os.environ, "PATH": path, "XDG_CACHE_HOME": str(self.folder / "cache"), "PYTHONUNBUFFERED": "1"}


def toy_line(line: str) -> str:
    """What a toy walk runs instead of a line."""
    for words, small in TOY.items():
        line = line.replace(words, small)
    return line


def cpu_seconds() -> float:
    """CPU seconds of all processes that have been waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def table(costs: List[Cost]) -> List[str]:
    """Lines of a Markdown table, under a line of when and where."""
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    threads = os.environ.get("OMP_NUM_THREADS", "unset")
    lines = [f"{datetime.date.today()}, {machine}, `OMP_NUM_THREADS` {threads}.", ""]
    lines += ["| step | command | seconds | CPU seconds | load |", "| --- | --- | --- | --- | --- |"]
    for cost in costs:
        words = " ".join(cost.line.split()[:2])
        lines.append(f"| {cost.step} | `{words}` | {cost.seconds:.1f} | {cost.cpu:.1f} | {cost.load:.1f} |")
    seconds, cpu = sum(cost.seconds for cost in costs), sum(cost.cpu for cost in costs)
    return [*lines, f"| all | | {seconds:.0f} | {cpu:.0f} | |"]


def check_page(page: Path) -> None:
    """Refuses a page that has no place for the table.

    Raises:
        FileNotFoundError: the page is not there.
        ValueError: it has no such place.
    """
    if not PLACE.search(page.read_text(encoding="utf-8")):
        marks = "<!-- times --> and <!-- end of times -->"
        raise ValueError(problem(page, f"lines {marks}", "none", "add them where the table belongs"))


def write_table(page: Path, costs: List[Cost]) -> None:
    """Puts the table where a page has its place."""
    new = "\n".join(["", *table(costs), "", ""])
    text = PLACE.sub(lambda found: found[1] + new + found[2], page.read_text(encoding="utf-8"))
    write_text(page, text)


if __name__ == "__main__":
    tyro.cli(Walk).main()
