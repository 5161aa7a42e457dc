"""`lns pack-scenes`: scene files, folders and archives into one archive, or into one folder."""

from dataclasses import dataclass
from pathlib import Path
from typing import List

from latent_nerfstudio.cli.words import Overwrite, Precision, SceneFiles, SceneNames
from latent_nerfstudio.errors import problem


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
        from latent_nerfstudio.cli.export_scenes import targets
        from latent_nerfstudio.files.replacing import check_free
        from latent_nerfstudio.scene_files.sources import read_scenes_from, write_scenes

        if not self.source:
            raise ValueError(problem("source", "at least one scene file, folder or archive", "none", "name one"))
        names = self._names()
        check_free(targets(self.output, names), self.overwrite)
        chosen = (scene for scene in read_scenes_from(self.source) if scene.name in set(names))
        count = write_scenes(self.output, chosen, self.precision)
        print(f"Wrote {len(names)} scene(s) to {self.output}: {count:,} bytes")

    def _names(self) -> List[str]:
        """The names of the wanted scenes in the order in which they are found."""
        from latent_nerfstudio.names import check_known
        from latent_nerfstudio.scene_files.sources import each_once, read_scenes_from

        scenes = each_once(read_scenes_from(self.source), "scenes", "leave one file out")
        bundles = {scene.name: scene.bundle_hash for scene in scenes}
        check_known(self.scenes, list(bundles), ", ".join(map(str, self.source)))
        chosen = [name for name in bundles if not self.scenes or name in self.scenes]
        hashes = sorted({bundles[name] for name in chosen})
        if len(hashes) > 1:
            got = f"some of {' and some of '.join(hashes[:2])}"
            raise ValueError(problem("scenes", "scenes of one bundle", got, "pack those of each by themselves"))
        return chosen
