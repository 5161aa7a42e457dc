"""`lns pack-scenes`: scene files, folders and archives into one archive, or into one folder."""

from dataclasses import dataclass
from pathlib import Path

from latent_nerfstudio.cli.words import Overwrite, Precision, SceneFiles, SceneNames
from latent_nerfstudio.errors import problem
from latent_nerfstudio.files.places import check_folder_or_file, check_free
from latent_nerfstudio.names import chosen


@dataclass
class PackScenes:
    """Copies scene files, such as those of `lns fit-scenes`, into one archive; or those of archives into a folder."""

    source: SceneFiles
    output: Path
    """An archive NAME.zip, or a folder for NAME.safetensors."""
    scenes: SceneNames = ()
    precision: Precision = "float16"
    overwrite: Overwrite = False

    def main(self) -> None:
        """Writes the archive or the files; all are read and verified before the first is written."""
        check_folder_or_file(self.output, ".zip")
        from latent_nerfstudio.cli.export_scenes import targets
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
