"""`lns export-scenes` and `lns pack-scenes`: the scenes of a run as small files against a shared bundle, and such files
as one archive."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Dict, List, Optional, Sequence

from latent_nerfstudio import __version__, scene_files
from latent_nerfstudio.cli.words import Overwrite, Precision, RunFolder, SceneFiles, SceneNames
from latent_nerfstudio.errors import few_of, problem
from latent_nerfstudio.files.places import check_file, check_folder_or_file, check_free
from latent_nerfstudio.names import check_names, chosen

if TYPE_CHECKING:
    from latent_nerfstudio.api.scenes import Scenes
    from latent_nerfstudio.engine.runs import Run
    from latent_nerfstudio.models.latent_model import LatentModel
    from latent_nerfstudio.models.shared_bundle import SharedBundle


@dataclass
class ExportScenes:
    """Writes each scene of a run as one small file that names its shared bundle: that which the run started from, or,
    where the run trained shared parts on, a new one beside the files."""

    source: RunFolder
    scenes: SceneNames = ()
    precision: Precision = "float16"
    output: Optional[Path] = None
    """Folder for NAME.safetensors, or an archive NAME.zip; by default the folder `scenes` of the run."""
    planes: Optional[Path] = None
    """File for the composed planes of all scenes as pictures too, [N, 3F, T, T] (.safetensors)."""
    overwrite: Overwrite = False

    def main(self) -> None:
        check_folder_or_file(self.output, ".zip")
        check_file(self.planes, ".safetensors", what="planes")
        from latent_nerfstudio.engine.runs import open_run
        from latent_nerfstudio.files.locks import locked
        from latent_nerfstudio.files.replacing import beside, sole_writer
        from latent_nerfstudio.models.triplane import TriplaneModelConfig

        run = open_run(self.source)
        config: Any = run.config.pipeline.model
        if not isinstance(getattr(config, "nerf", None), TriplaneModelConfig):
            expected = "a run with tri-planes, whose scenes share what a bundle holds"
            raise ValueError(problem(run.config_path, expected, f"one of {run.method}", "use lns export-scene"))
        output = self.output or run.folder / "scenes"
        names = chosen(self.scenes, run.scenes(), run.config_path)
        check_names(names, run.config_path)
        with locked(beside(output, "lock"), output) if is_archive(output) else sole_writer(output):
            self.write(run, output, names)

    def write(self, run: "Run", output: Path, names: Sequence[str]) -> None:
        from latent_nerfstudio.api.loading import run_scenes
        from latent_nerfstudio.fleet.plan import DOUBT
        from latent_nerfstudio.scene_files.model_scenes import scene_files_of
        from latent_nerfstudio.scene_files.plane_images import write_plane_images
        from latent_nerfstudio.scene_files.sources import write_scenes

        check_free([*targets(output, names), *([self.planes] if self.planes else [])], self.overwrite)
        scenes = run_scenes(self.source)
        model = scenes.model
        bundle = find_bundle(run, model)
        if bundle is None:
            bundle = new_bundle(run, model, output.with_suffix("") if is_archive(output) else output, self.overwrite)
        facts = scene_facts(run, scenes, names)
        dropped = [name for name in names if DOUBT in facts[name]]
        if dropped:
            print(f"Dropped while they were trained, and written as they were then: {few_of(dropped)}")
        count = write_scenes(output, scene_files_of(model, bundle.hash, facts, names), self.precision)
        print(f"Wrote {len(names)} scene(s) to {output}: {count:,} bytes; shared bundle: {bundle.folder}")
        if self.planes is not None:
            precision = "float32" if self.precision == "float32" else "float16"
            write_plane_images(self.planes, scene_files_of(model, bundle.hash, names=names), bundle, precision)
            print(f"Wrote their composed planes to {self.planes}: {self.planes.stat().st_size:,} bytes")


@dataclass
class PackScenes:
    """Copies scene files, such as those of `lns fit-scenes`, into one archive; or those of archives into a folder."""

    source: SceneFiles
    output: Path
    """An archive NAME.zip, or a folder for NAME.safetensors."""
    scenes: SceneNames = ()
    precision: Optional[scene_files.Precision] = None
    """Precision of micro planes; by default that which each file has."""
    overwrite: Overwrite = False

    def main(self) -> None:
        """Writes the archive or the files; all are read and verified before the first is written."""
        check_folder_or_file(self.output, ".zip")
        from latent_nerfstudio.models.shared_bundle import name_one_bundle
        from latent_nerfstudio.scene_files.sources import each_once, read_scenes_from, write_scenes

        scenes = each_once(read_scenes_from(self.source), "scenes", "leave one file out")
        bundles = {scene.name: scene.bundle_hash for scene in scenes}
        names = chosen(self.scenes, list(bundles), ", ".join(map(str, self.source)))
        hashes = sorted({bundles[name] for name in names})
        if not name_one_bundle(hashes):
            got = f"some of {' and some of '.join(hashes[:2])}"
            raise ValueError(problem("scenes", "scenes of one bundle", got, "pack those of each by themselves"))
        check_free(targets(self.output, names), self.overwrite)
        wanted = (scene for scene in read_scenes_from(self.source) if scene.name in names)
        count = write_scenes(self.output, wanted, self.precision)
        print(f"Wrote {len(names)} scene(s) to {self.output}: {count:,} bytes")


def is_archive(output: Path) -> bool:
    return output.suffix == ".zip"


def targets(output: Path, names: Sequence[str]) -> List[Path]:
    return [output] if is_archive(output) else [output / f"{name}.safetensors" for name in names]


def find_bundle(run: "Run", model: "LatentModel") -> Optional["SharedBundle"]:
    """The bundle that holds what a run's scenes share: that which it started from, or its own; None if neither does."""
    from latent_nerfstudio.models.shared_bundle import read_shared_bundle
    from latent_nerfstudio.scene_files.model_scenes import holds_bundle

    config: Any = run.config.pipeline.model
    sources = [] if config.shared_bundle is None else [config.shared_bundle]
    sources += [str(run.folder)] if (run.folder / "shared_bundle").is_dir() else []
    bundles = (read_shared_bundle(source) for source in sources)
    return next((bundle for bundle in bundles if holds_bundle(model, bundle)), None)


def new_bundle(run: "Run", model: "LatentModel", place: Path, overwrite: bool) -> "SharedBundle":
    """Writes a bundle of what a run's scenes share; says so where they have not learned what is around them."""
    from latent_nerfstudio.models.bundle_folder import FOLDER
    from latent_nerfstudio.models.bundle_writing import write_shared_bundle
    from latent_nerfstudio.models.shared_bundle import read_shared_bundle

    check_free([place / FOLDER], overwrite)
    step = int(run.latest_checkpoint().stem.removeprefix("step-"))
    if any(placement.box is not None for placement in model.placements):
        print(
            "The run's scenes end at their own boxes, and so does what they share: give scenes that are fitted against "
            "this bundle their own `aabb` as well, or train with --write-bundle True, which learns what is around them"
        )
    return read_shared_bundle(str(write_shared_bundle(place, model, step, {"method": run.method})))


def scene_facts(run: "Run", scenes: "Scenes", names: Sequence[str]) -> Dict[str, Dict[str, Any]]:
    """What a run knows of each of its scenes: method, box, samples, steps and seconds; psnr, where ns-eval wrote
    eval.json beside config.yml; views and cameras, where these or the data are there."""
    from latent_nerfstudio.fleet.plan import DOUBT
    from latent_nerfstudio.scene_files.model_scenes import ENLARGED, SAMPLES
    from latent_nerfstudio.scene_files.views import view_facts

    if isinstance(scenes.training, Exception):
        print(f"Facts without views and cameras, since the data cannot be read: {scenes.training}")
    nerf: Any = scenes.model.nerf.config
    enlarge = scenes.model.latent_space.autoencoder.enlarge
    common = {"method": run.method, "version": __version__, SAMPLES: [nerf.num_samples, nerf.num_importance_samples]}
    common[ENLARGED] = enlarge if enlarge > 1 else None
    common.update(steps=run.training.get("steps"), seconds=run.training.get("seconds_per_scene"))
    failed, facts = run.training.get("failed", {}), {}
    for name in names:
        box = scenes.box_of(name)
        doubt = f"dropped at step {failed[name]}: no finite numbers" if name in failed else None
        seen = {} if isinstance(scenes.training, Exception) else view_facts(scenes.cameras(name), box)
        own = {**common, "psnr": scenes.facts[name].get("psnr"), DOUBT: doubt, **seen, "box": box.tolist()}
        facts[name] = {fact: value for fact, value in own.items() if value is not None}
    return facts
