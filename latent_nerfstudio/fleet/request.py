"""What someone asks for: the flags of `lns fit-scenes`, which are arguments of `lns.fit`, and of `lns learn-bundle`.

Imports nothing heavy before it is used: the help of `lns` reads it.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Optional, Tuple, Union, get_args

import tyro

from latent_nerfstudio.errors import MOST_SEED, check_least, check_whole, is_number, problem
from latent_nerfstudio.files.places import check_cache, check_scenes_folders
from latent_nerfstudio.scene_files import Precision

Device = Literal["cpu", "cuda"]

LEAST = {"steps": 0, "rgb_alignment_start": 0, "eval_interval": 2, "chunk": 1, "enlarge": 1, "rays_per_scene": 1}
"""Of the whole numbers that are asked for."""


@dataclass
class FitRequest:
    """Scenes to fit, where to, and how."""

    data: Path
    """Folder of scene folders, one scene folder, or its transforms.json."""
    output: Path
    """Folder for scenes/NAME.safetensors, status.json, settings.json and logs/."""
    bundle: str = "bundled"
    """Shared bundle: `bundled`, a run of ig-ae (folder or config.yml), a bundle's folder, or a Hub id."""
    scenes: Tuple[str, ...] = ()
    """Names of scenes, by default all."""
    steps: int = 300
    """Steps of each scene in all; 0 writes scenes as the bundle's scene encoder predicts them from their photos."""
    rgb_alignment_start: Optional[int] = None
    """First step of RGB alignment, which decodes renders and fits them to the pictures; None for none."""
    eval_interval: Optional[int] = None
    """Distance n of held-out views 0, n, 2n, ... of scenes without a split of their own; by default 10, and none where
    there are 8 photos or fewer."""
    precision: Precision = "float16"
    """Precision of micro planes; int8 takes half of float16, with one scale a plane and feature."""
    workers: Union[int, Literal["ray"]] = 1
    """Processes of this machine, which take its GPUs by turns; or `ray`: the cluster at hand, else one of this
    machine."""
    gpus_per_task: Optional[float] = None
    """GPUs of a Ray task, may be part of one; by default 1 where the cluster has some."""
    shard: Annotated[Optional[str], tyro.conf.arg(metavar="I/N")] = None
    """Part I of N of the scenes, I from 1, for arrays of jobs; the call without it collects them all."""
    device: Optional[Device] = None
    """Device of the fits; by default the GPU, if there is one."""
    chunk: Optional[int] = None
    """Scenes fitted together at most: what a crash costs; by default what memory allows, at most 32."""
    enlarge: Optional[int] = None
    """Times that photos are enlarged before they are encoded, a divisor of the autoencoder's downscale factor: scenes
    show more, and a picture takes longer to decode. By default 2, where it is one and photos have at most 512 pixels
    a side."""
    rays_per_scene: Optional[int] = None
    """Latent pixels of each scene a step of latent supervision; by default 256 times `enlarge`."""
    seed: int = 0
    """Seed of fresh planes and of draws."""
    latent_cache: str = "disk"
    """Place of encoded pictures: `memory`, `disk` (the user's cache folder) or a folder."""

    def check(self) -> None:
        """Refuses what cannot work, before anything is written or much is imported."""
        for name, low in {**LEAST, "seed": 0}.items():
            if (value := getattr(self, name)) is not None:
                check_whole(name, value, low, MOST_SEED if name == "seed" else None)
                setattr(self, name, int(value))  # of NumPy, which JSON does not have
        if self.gpus_per_task is not None and not (is_number(self.gpus_per_task) and self.gpus_per_task >= 0):
            raise ValueError(problem("gpus_per_task", "at least 0", repr(self.gpus_per_task), "give another"))
        for name, choices in (("precision", get_args(Precision)), ("device", (None, *get_args(Device)))):
            if getattr(self, name) not in choices:
                expected = f"one of {', '.join(filter(None, choices))}"
                raise ValueError(problem(name, expected, repr(getattr(self, name)), "choose one of these"))
        self.part()
        check_cache(self.latent_cache)
        check_scenes_folders(self.data, self.output)
        start = self.rgb_alignment_start
        if start is not None and start >= self.steps:
            expected = f"less than the {self.steps} steps"
            raise ValueError(problem("rgb_alignment_start", expected, start, "leave it out for none"))
        if self.workers == "ray":
            import_ray()
            return
        check_whole("workers", self.workers, 1, do="name a number, or ray")
        if self.gpus_per_task is not None:
            raise ValueError(problem("gpus_per_task", "workers 'ray' with it", self.workers, "leave it out"))
        if self.device == "cuda":
            import torch

            if not torch.cuda.is_available():
                raise ValueError(problem("device", "cpu on a machine without CUDA", "cuda", "leave it out"))

    def part(self) -> Optional[Tuple[int, int]]:
        """Which of how many parts of the scenes is meant; None for all."""
        if self.shard is None:
            return None
        index, _, count = str(self.shard).partition("/")
        if not (re.fullmatch(r"\d{1,9}/\d{1,9}", str(self.shard)) and 1 <= int(index) <= int(count)):
            raise ValueError(problem("shard", "i/n with i from 1 to n", f"{self.shard!r:.60}", "correct it"))
        return int(index), int(count)


@dataclass
class BundleRequest:
    """A shared bundle to learn, from what, and where to."""

    data: Path
    """Folder of scene folders, some dozens at least."""
    output: Path
    """Folder for shared_bundle/, report.md, report.json and the runs."""
    bundle: str = "bundled"
    """Shared bundle whose autoencoder it begins with: `bundled`, a run of ig-ae, a bundle's folder, or a Hub id."""
    hold_out: int = 4
    """Scenes held out, and measured."""
    photos: Optional[Path] = None
    """Folder of photos of anything, which keep the autoencoder fit for other pictures."""
    steps: int = 3000
    """Steps of joint training, of which a fifth is warm-up."""
    decoder_steps: int = 3000
    """Steps of the decoder's run, of which a quarter fits the scenes."""
    encoder_steps: int = 0
    """Steps of a scene encoder, which predicts scenes of a few photos, two hours of a core for 6000; 0 for none."""
    scenes_per_batch: int = 8
    """Scenes, and pictures, of a step; fewer where there are fewer."""
    seed: int = 0
    """Seed of the trainings."""
    latent_cache: str = "disk"
    """Place of encoded pictures: `memory`, `disk` (the user's cache folder) or a folder."""

    def check(self) -> None:
        """Refuses what cannot work, before much is imported."""
        check_cache(self.latent_cache)
        check_scenes_folders(self.data, self.output)
        check_least(self, steps=20, decoder_steps=20, encoder_steps=0, scenes_per_batch=1, seed=0)
        if self.photos is not None and not self.photos.is_dir():
            raise FileNotFoundError(problem("photos", "a folder of pictures", self.photos, "check --photos"))


def import_ray() -> Any:
    """Ray, which is an extra."""
    try:
        import ray  # type: ignore[import-not-found]
    except ImportError as error:
        do = "pip install 'latent-nerfstudio[ray]', or give a number of processes of this machine"
        raise ValueError(problem("workers", "Ray for --workers ray", "none installed", do)) from error
    return ray
