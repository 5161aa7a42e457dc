"""Runs that are killed at random moments: what is lost, and what is wrong afterwards.

    python benchmarks/chaos.py --kills 200 --at-writes 100

Small but real `ns-train`, `lns export-scenes` and `lns fit-scenes` runs on generated scenes. Each is once left alone,
measured, and then begun again and again; each time its process group gets a SIGKILL, at a random moment of the measured
duration, or right before a random one of its calls that change the disk. After that, everything that has a final name
must be whole, the same command must go on to the end, and what it leaves must be what the undisturbed run left, to the
last bit. Last, whole checkpoints are damaged, which must be noticed.

Processes are forks of one that has imported everything, so that a kill costs a second or two and not fifteen.
"""

import contextlib
import copy
import importlib
import itertools
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import zipfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple

import torch
import tyro

KEPT = "saved.txt"
"""What a training says it has saved: a line a checkpoint, written when its name was given."""

WRITES = ("replace", "fsync", "unlink", "rename", "mkdir", "open")
"""Functions of `os` before which a process is killed."""

OUTCOMES = ("as if nothing had been", "refused", "lost", "silently wrong")
"""Of a kill: the same command ends with the same files; it ends with an error; something that had been saved was gone
or not whole; it ends well, with other files."""

STEPS, SAVE_EVERY, VIEWS = 8, 2, 6
"""Steps of a training, and between its checkpoints; views of a scene, one of which is held out."""

Contents = Dict[str, Any]
"""What a job leaves, by name; equal if the job is done again."""


@dataclass
class Job:
    """A command that is killed."""

    name: str
    begin: Callable[[Path], None]
    """Runs it in this process: from the beginning, or on from what is in its folder."""
    contents: Callable[[Path], Contents]
    """What it leaves in a folder when it has ended."""
    broken: Callable[[Path], List[str]]
    """Files that have their final name and are not whole, and what was saved and is gone; at any moment."""
    seconds: float = 0.0
    """Of the undisturbed run."""
    writes: int = 0
    """Its calls that change the disk."""
    expected: Contents = field(default_factory=dict)
    """What the undisturbed run left."""


@dataclass
class Chaos:
    """Kills, goes on, compares and counts."""

    kills: int = 200
    """Kills at random moments, dealt out to the jobs by turns."""
    at_writes: int = 100
    """Kills right before random calls that change the disk."""
    damages: int = 60
    """Checkpoints that are damaged: cut, a block of zeros, a bit."""
    seed: int = 0
    """Of the moments."""
    jobs: Tuple[str, ...] = ()
    """Names of jobs; by default all."""
    output: Optional[Path] = Path("benchmarks/chaos.json")
    """Numbers; the page is written beside them. None writes nothing."""

    def main(self) -> int:
        """Returns the number of kills after which something was lost or wrong, and of damages that nobody noticed."""
        torch.set_num_threads(1)
        started = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
            work = Path(folder)
            jobs = [job for job in make_jobs(work) if not self.jobs or job.name in self.jobs]
            if any(job.name.startswith("export") for job in jobs):
                undisturbed(jobs[0], work / "run", begin=lambda: train(work / "data", work / "run"))
            for job in jobs:
                measure(job, work / "expected" / job.name)
            rows = list(self.campaign(jobs, work))
            noticed = self.damage(work)
        numbers = {
            "settings": {"kills": self.kills, "at_writes": self.at_writes, "damages": self.damages, "seed": self.seed},
            "seconds": round(time.monotonic() - started),
            "jobs": {job.name: {"seconds": round(job.seconds, 2), "writes": job.writes} for job in jobs},
            "kills": rows,
            "damages": noticed,
        }
        if self.output is not None:
            from latent_nerfstudio.files.replacing import write_text

            write_text(self.output, json.dumps(numbers, indent=1))
            write_text(self.output.with_suffix(".md"), page(numbers))
        print(page(numbers))
        bad = sum(row["outcome"] != OUTCOMES[0] for row in rows)
        return bad + sum(count for name, count in noticed.items() if name.startswith("unnoticed"))

    def campaign(self, jobs: List[Job], work: Path) -> Iterator[Dict[str, Any]]:
        """A row a kill."""
        rng = random.Random(self.seed)
        turns = itertools.chain(
            ((job, "moment") for job in itertools.islice(itertools.cycle(jobs), self.kills)),
            ((job, "write") for job in itertools.islice(itertools.cycle(jobs), self.at_writes)),
        )
        for index, (job, kind) in enumerate(turns):
            folder = work / f"{index:04d}"
            row = {"job": job.name, "kind": kind, **kill_once(job, folder, kind, rng)}
            shutil.rmtree(folder)
            print(f"{index + 1}/{self.kills + self.at_writes}", *row.values(), flush=True)
            yield row

    def damage(self, work: Path) -> Dict[str, int]:
        """How many damages were noticed, by kind."""
        from latent_nerfstudio.engine.checkpoints import damage

        source = next((work / "expected").glob("train/**/*.ckpt"), None)
        rng, counts = random.Random(self.seed + 1), Counter()
        for index in range(self.damages if source is not None else 0):
            assert source is not None
            kind, path = list(DAMAGES)[index % len(DAMAGES)], work / "damaged.ckpt"
            path.write_bytes(DAMAGES[kind](source.read_bytes(), record_places(source), rng))
            counts[f"{'noticed' if damage(path) else 'unnoticed'}: {kind}"] += 1
        return dict(counts)


def kill_once(job: Job, folder: Path, kind: str, rng: random.Random) -> Dict[str, Any]:
    """Begins a job, kills it, looks at what is there, has it go on, and compares."""
    folder.mkdir()
    after = rng.uniform(0, 1.05 * job.seconds) if kind == "moment" else None
    at_write = rng.randrange(1, job.writes + 1) if kind == "write" else None
    killed = fork(lambda: job.begin(folder), folder, after, at_write)
    at = {"at": at_write if after is None else round(after, 2), "killed": killed == -signal.SIGKILL}
    broken = job.broken(folder)
    if broken:
        return {**at, "outcome": OUTCOMES[2], "what": "; ".join(broken)}
    if fork(lambda: job.begin(folder), folder) != 0:
        return {**at, "outcome": OUTCOMES[1], "what": (folder / "log.txt").read_text()[-2000:]}
    wrong = [name for name, value in job.expected.items() if not same(job.contents(folder).get(name), value)]
    wrong += job.broken(folder)
    return {**at, "outcome": OUTCOMES[3] if wrong else OUTCOMES[0], "what": "; ".join(wrong)}


def measure(job: Job, folder: Path) -> None:
    """Has a job run undisturbed, twice: to count its calls that change the disk, and, warm, for its duration."""
    counted = folder.with_name(f"{job.name}, counted")
    undisturbed(job, counted, at_write=10**9)
    for name in (counted / "modules.txt").read_text().split():
        with contextlib.suppress(Exception):  # some modules are made by others, not imported
            importlib.import_module(name)
    started = time.monotonic()
    undisturbed(job, folder)
    job.seconds = time.monotonic() - started
    job.expected, other = job.contents(folder), job.contents(counted)
    job.writes = int((counted / "writes.txt").read_text())
    unlike = [name for name, value in job.expected.items() if not same(other.get(name), value)]
    if unlike or not job.expected:
        raise RuntimeError(f"{job.name}: expected a run that repeats itself, got other {', '.join(unlike)}")
    print(f"{job.name}: {job.seconds:.1f} s, {job.writes} calls that change the disk", flush=True)


def undisturbed(
    job: Job, folder: Path, at_write: Optional[int] = None, begin: Optional[Callable[[], None]] = None
) -> None:
    """Has a job run to its end, or what it needs.

    Raises:
        RuntimeError: it ends with an error.
    """
    folder.mkdir(parents=True)
    code = fork(begin or (lambda: job.begin(folder)), folder, at_write=at_write)
    if code != 0:
        raise RuntimeError(f"{job.name}: expected to end well, got {code}\n{(folder / 'log.txt').read_text()[-3000:]}")


def fork(
    function: Callable[[], None], folder: Path, after: Optional[float] = None, at_write: Optional[int] = None
) -> int:
    """Calls a function in a process group of its own, which gets a SIGKILL after seconds or before a write.

    Returns:
        Its exit code, negative for a signal.
    """
    child = os.fork()
    if child == 0:
        os.setsid()
        log = os.open(folder / "log.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        code = 1
        try:
            code = call(function, folder, at_write)
        finally:
            sys.stdout.flush()
            os._exit(code)
    if after is not None:
        time.sleep(after)
        try:
            os.killpg(child, signal.SIGKILL)
        except ProcessLookupError:
            os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def call(function: Callable[[], None], folder: Path, at_write: Optional[int]) -> int:
    """What a forked process does."""
    if at_write is not None:
        count = kill_at(at_write)
    try:
        function()
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else 1
    except BaseException:
        import traceback

        traceback.print_exc()
        return 1
    if at_write is not None:
        (folder / "writes.txt").write_text(str(count[0]))
        (folder / "modules.txt").write_text("\n".join(list(sys.modules)))
    return 0


def kill_at(number: int) -> List[int]:
    """Has this process kill itself before a call that changes the disk; returns the count of them so far."""
    count = [0]

    def counted(original: Callable, *args: Any, **kwargs: Any) -> Any:
        reads = original is originals["open"] and not args[1] & (os.O_WRONLY | os.O_RDWR)
        count[0] += not reads
        if count[0] == number and not reads:
            os.killpg(0, signal.SIGKILL)
        return original(*args, **kwargs)

    originals = {name: getattr(os, name) for name in WRITES}
    for name, original in originals.items():
        setattr(os, name, lambda *args, original=original, **kwargs: counted(original, *args, **kwargs))
    return count


def same(one: Any, other: Any) -> bool:
    """Whether two contents are the same, tensors to the last bit."""
    if torch.is_tensor(one) or torch.is_tensor(other):
        return torch.is_tensor(one) and torch.is_tensor(other) and one.dtype == other.dtype and torch.equal(one, other)
    return one == other


# The jobs


def make_jobs(work: Path) -> List[Job]:
    """The jobs, on scenes that are made here; exports are of a run in the folder `run`."""
    from latent_nerfstudio.cli.making import DemoScenes

    data = work / "data"
    DemoScenes(output=data, num_scenes=2, views=VIEWS, size=32, workers=1).main()
    run = work / "run"
    return [
        Job("train", lambda folder: train(data, folder), training_contents, broken_training),
        Job("cache", lambda folder: fill_cache(data, folder), cache_contents, broken_cache),
        Job("export", lambda folder: export(run, folder), scene_contents, broken_scenes),
        Job("export to an archive", lambda folder: export_archive(run, folder), archive_contents, broken_archive),
        Job("fit scenes", lambda folder: fit(data, folder), scene_contents, broken_scenes),
        Job("demo scene, over an old one", make_scene, made_contents, broken_made),
        Job("save_scene, over an old one", save_scene, made_contents, broken_made),
    ]


def train_config(data: Path, folder: Path) -> Any:
    """Both stages on two scenes, with a checkpoint, a bundle and pictures on the way."""
    from latent_nerfstudio.method_configs.triplane import latent_triplane

    config: Any = copy.deepcopy(latent_triplane.config)
    config.output_dir, config.experiment_name, config.timestamp = folder, "run", "now"
    config.max_num_iterations, config.steps_per_save, config.steps_per_pictures = STEPS, SAVE_EVERY, 4
    config.steps_per_eval_image, config.vis, config.write_bundle = 10**6, "tensorboard", True
    config.machine.device_type = "cpu"
    config.pipeline.rgb_alignment_start, config.pipeline.crop = STEPS // 2, 16
    manager, field_config = config.pipeline.datamanager, config.pipeline.model.nerf.field
    manager.data, manager.latent_cache, manager.rays_per_batch = data, str(folder / "cache"), 64
    field_config.micro_features, field_config.macro_features, field_config.num_base_planes = 4, 4, 2
    field_config.resolution = 8
    return config


def train(data: Path, folder: Path) -> None:
    """`ns-train`, from the newest checkpoint where there is one."""
    from nerfstudio.scripts.train import main

    from latent_nerfstudio.engine.checkpoints import checkpoints_of
    from latent_nerfstudio.engine.trainer import LatentTrainer

    config = train_config(data, folder)
    if checkpoints_of(config.get_checkpoint_dir()):
        config.load_dir = config.get_checkpoint_dir()
    publish = LatentTrainer._publish

    def tell(trainer: LatentTrainer, step: int) -> None:
        publish(trainer, step)
        with open(folder / KEPT, "a") as file:
            file.write(f"{step}\n")

    setattr(LatentTrainer, "_publish", tell)  # noqa: B010  # this process does nothing else
    try:
        main(config)
    except ValueError as error:  # all steps were made, and it was killed after the last checkpoint
        if "expected more than the" not in str(error):
            raise


def run_folder(folder: Path) -> Path:
    return folder / "run" / "latent-triplane" / "now"


def training_contents(folder: Path) -> Contents:
    """The last checkpoint: weights, optimizers, schedules; and the shared bundle."""
    from latent_nerfstudio.engine.checkpoints import checkpoints_of
    from latent_nerfstudio.models.shared_bundle import read_shared_bundle

    found = checkpoints_of(run_folder(folder) / "nerfstudio_models")
    leaves = flat(torch.load(found[max(found)], weights_only=True)) if found else {}
    bundle = {"bundle": read_shared_bundle(str(run_folder(folder))).hash} if leaves else {}
    return {**leaves, **bundle, "checkpoints": list(found)}


def broken_training(folder: Path) -> List[str]:
    """Checkpoints that do not verify or are gone, texts that are cut off, a bundle that is refused."""
    import yaml

    from latent_nerfstudio.engine.checkpoints import NAME, checkpoints_of, damage
    from latent_nerfstudio.models.shared_bundle import read_shared_bundle

    run = run_folder(folder)
    models = run / "nerfstudio_models"
    paths = list(models.iterdir()) if models.exists() else []
    found = [str(path) for path in paths if not NAME.fullmatch(path.name) or damage(path)]
    saved = [int(line) for line in (folder / KEPT).read_text().split()] if (folder / KEPT).exists() else []
    if saved and max(checkpoints_of(models), default=-1) < max(saved):
        found.append(f"the checkpoint of step {max(saved)} is gone")
    readers = {
        "config.yml": lambda path: yaml.load(path.read_text(), Loader=yaml.Loader).method_name,
        "training.json": lambda path: json.loads(path.read_text()),
        "metrics.jsonl": lambda path: [json.loads(line) for line in path.read_text().splitlines()],
        "shared_bundle": lambda path: read_shared_bundle(str(path)),
        "contact_sheet.png": open_picture,
        **{f"pictures/{path.name}": open_picture for path in run.glob("pictures/*.png")},
    }
    return [*found, *unreadable(run, readers), *broken_cache(folder)]


def open_picture(path: Path) -> None:
    """Decodes a picture."""
    from PIL import Image

    with Image.open(path) as image:
        image.load()


def unreadable(folder: Path, readers: Dict[str, Callable[[Path], Any]]) -> List[str]:
    """Files that are there and cannot be read."""
    found = []
    for name, read in readers.items():
        try:
            read(folder / name) if (folder / name).exists() else None
        except Exception as error:
            found.append(f"{name}: {error}")
    return found


def fill_cache(data: Path, folder: Path) -> None:
    """The first step of `ns-train`, which encodes all pictures."""
    from nerfstudio.scripts.train import main

    config = train_config(data, folder)
    config.max_num_iterations, config.write_bundle, config.contact_sheet = 1, False, False
    config.steps_per_pictures = None
    main(config)


def cache_contents(folder: Path) -> Contents:
    """The files of the cache."""
    files = sorted((folder / "cache").rglob("*.safetensors"))
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def broken_cache(folder: Path) -> List[str]:
    """Files of the cache that do not verify."""
    from latent_nerfstudio.data import latent_cache

    files = sorted((folder / "cache").rglob("*.safetensors"))
    return [str(path) for path in files if latent_cache._read(path, VIEWS - 1) is None]


def make_scene(folder: Path) -> None:
    """`lns demo-scenes --overwrite`, twice."""
    from latent_nerfstudio.cli.making import DemoScenes

    for _ in range(2):
        made = DemoScenes(output=folder / "made", num_scenes=1, views=2, size=16, workers=1, overwrite=True)
        made.main()


def save_scene(folder: Path) -> None:
    """`lns.save_scene`, twice."""
    import latent_nerfstudio as lns

    for _ in range(2):
        lns.save_scene(folder / "made" / "saved", torch.full((2, 16, 16, 3), 0.5), lns.orbit(2, 16))


def made_contents(folder: Path) -> Contents:
    """All files, those that should not be there among them."""
    paths = sorted(path for path in (folder / "made").rglob("*") if path.is_file())
    return {"names": [path.name for path in paths], **{str(p.relative_to(folder)): p.read_bytes() for p in paths}}


def broken_made(folder: Path) -> List[str]:
    """Scenes that are there and not whole."""
    from latent_nerfstudio.data.layouts import read_scene

    scenes = [path for path in (folder / "made").glob("*") if path.name[0] != "."]
    return [f"{path.name}: not whole" for path in scenes if len(read_scene(path)) != 2]


def export(run: Path, folder: Path) -> None:
    """`lns export-scenes`."""
    from latent_nerfstudio.cli.export_scenes import ExportScenes

    ExportScenes(run_folder(run), output=folder / "scenes", planes=folder / "planes.safetensors", overwrite=True).main()


def export_archive(run: Path, folder: Path) -> None:
    """`lns export-scenes --output NAME.zip`."""
    from latent_nerfstudio.cli.export_scenes import ExportScenes

    ExportScenes(run_folder(run), output=folder / "scenes.zip", overwrite=True).main()


def fit(data: Path, folder: Path) -> None:
    """`lns fit-scenes`."""
    from latent_nerfstudio.cli.fit_scenes import FitScenes

    options: Dict[str, Any] = {"steps": 4, "rgb_alignment_start": 2, "rays_per_scene": 64, "chunk": 1}
    FitScenes(data, folder, latent_cache=str(folder / "cache"), **options).main()


def scene_contents(folder: Path) -> Contents:
    """The tensors of scene files, and of composed planes; the facts say how long it took."""
    from safetensors.torch import load_file

    files = [*sorted((folder / "scenes").glob("*.safetensors")), *folder.glob("planes.safetensors")]
    return {f"{path.name}/{name}": value for path in files for name, value in load_file(path).items()}


def broken_scenes(folder: Path) -> List[str]:
    """Files that do not verify."""
    from latent_nerfstudio.models.shared_bundle import read_shared_bundle
    from latent_nerfstudio.scene_files.scene_file import read_scene_file

    scenes = {f"scenes/{path.name}": read_scene_file for path in (folder / "scenes").glob("*.safetensors")}
    texts = {name: lambda path: json.loads(path.read_text()) for name in ("status.json", "settings.json")}
    bundle = {"scenes/shared_bundle": lambda path: read_shared_bundle(str(path))}
    return [*unreadable(folder, {**scenes, **texts, **bundle}), *broken_cache(folder)]


def archive_contents(folder: Path) -> Contents:
    """The archive's bytes."""
    path = folder / "scenes.zip"
    return {path.name: path.read_bytes() if path.exists() else None}


def broken_archive(folder: Path) -> List[str]:
    """An archive that does not verify."""
    return unreadable(folder, {"scenes.zip": lambda path: zipfile.ZipFile(path).testzip()})


def flat(value: Any, prefix: str = "") -> Contents:
    """Leaves of nested dictionaries and lists by their path, but for what tells the time."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, (list, tuple)) else None
    if items is None:
        return {} if prefix.endswith(("seconds", "/seal")) else {prefix: value}
    return {name: leaf for key, part in items for name, leaf in flat(part, f"{prefix}/{key}").items()}


# Damage

Damage = Callable[[bytes, List[Tuple[int, int]], random.Random], bytes]


def record_places(path: Path) -> List[Tuple[int, int]]:
    """Where the records of a checkpoint begin and end; a bit between them changes nothing."""
    with zipfile.ZipFile(path) as archive:
        infos = [info for info in archive.infolist() if info.file_size]
    data = path.read_bytes()
    places = []
    for info in infos:
        head = info.header_offset
        start = head + 30 + int.from_bytes(data[head + 26 : head + 28], "little")
        start += int.from_bytes(data[head + 28 : head + 30], "little")
        places.append((start, start + info.file_size))
    return places


def cut(data: bytes, places: List[Tuple[int, int]], rng: random.Random) -> bytes:
    """The beginning alone."""
    return data[: rng.randrange(len(data))]


def zeros(data: bytes, places: List[Tuple[int, int]], rng: random.Random) -> bytes:
    """A block that never reached the disk, in a record that is not zero there."""
    while True:
        start, end = rng.choice(places)
        first = rng.randrange(start, end)
        last = min(end, first + 4096)
        if any(data[first:last]):
            return data[:first] + bytes(last - first) + data[last:]


def bit(data: bytes, places: List[Tuple[int, int]], rng: random.Random) -> bytes:
    """A bit of a record."""
    start, end = rng.choice(places)
    place = rng.randrange(start, end)
    return data[:place] + bytes([data[place] ^ 1 << rng.randrange(8)]) + data[place + 1 :]


DAMAGES: Dict[str, Damage] = {"cut": cut, "a block of zeros": zeros, "a bit": bit}


def page(numbers: Dict[str, Any]) -> str:
    """The counts as Markdown."""
    settings = numbers["settings"]
    flags = " ".join(f"--{name.replace('_', '-')} {value}" for name, value in settings.items())
    lines = ["# Runs that are killed", "", "```", f"python benchmarks/chaos.py {flags}", "```", ""]
    for kind, title in (("moment", "At random moments"), ("write", "Before random calls that change the disk")):
        rows = [row for row in numbers["kills"] if row["kind"] == kind]
        if rows:
            lines += [f"## {title}", "", *table(rows, numbers["jobs"]), ""]
    if numbers["damages"]:
        lines += ["## Damaged checkpoints", "", "| damage | count |", "| --- | --- |"]
        lines += [f"| {name} | {count} |" for name, count in sorted(numbers["damages"].items())]
    return "\n".join(lines).rstrip() + "\n"


def table(rows: List[Dict[str, Any]], jobs: Dict[str, Any]) -> List[str]:
    """A row a job, and one of sums."""
    lines = [
        "| job | seconds | kills | ended before | " + " | ".join(OUTCOMES) + " |",
        "| --- " * (4 + len(OUTCOMES)) + "|",
    ]
    for name in [*jobs, "all"]:
        own = [row for row in rows if name in (row["job"], "all")]
        seconds = f"{jobs[name]['seconds']:.1f}" if name in jobs else ""
        late = sum(not row["killed"] for row in own)
        counts = [sum(row["outcome"] == outcome for row in own) for outcome in OUTCOMES]
        lines.append(f"| {name} | {seconds} | {len(own)} | {late} | " + " | ".join(map(str, counts)) + " |")
    return lines


if __name__ == "__main__":
    sys.exit(min(1, tyro.cli(Chaos).main()))
