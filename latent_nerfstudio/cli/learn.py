"""`lns learn-bundle` and `lns learn-scene-encoder`: a shared bundle of your own kind of objects, and one that predicts
scenes of a few photos."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Optional

import tyro

from latent_nerfstudio.errors import check_least
from latent_nerfstudio.files.places import check_scenes_folders, data_folder
from latent_nerfstudio.fleet.request import BundleRequest


@dataclass
class LearnBundle(BundleRequest):
    """Learns a shared bundle from many scenes of one kind, and measures what it gains on scenes that it holds out.
    Joint training (`ns-train ig-ae`) from the bundle that ships, then a decoder for what scenes render; the same call
    again goes on where the last one ended. See docs/ig_ae.md."""

    data: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="SCENES")]
    """Folder of scene folders, some dozens at least."""

    def main(self) -> None:
        self.check()
        from latent_nerfstudio.fleet.learn_bundle import learn_bundle
        from latent_nerfstudio.method_configs.igae import ig_ae
        from latent_nerfstudio.method_configs.triplane import latent_triplane

        learn_bundle(self, ig_ae.config, latent_triplane.config)  # type: ignore[arg-type]
        output = self.output.expanduser()
        print((output / "report.md").read_text(encoding="utf-8"))
        print(f"Bundle: {output / 'shared_bundle'}; use it with lns fit-scenes --bundle {output}")


@dataclass
class LearnSceneEncoder:
    """Teaches a shared bundle a scene encoder, which predicts a scene of one or more photos without any fitting, from
    scenes of its kind. What is in the bundle stays as it is; the bundle with its encoder is written to OUTPUT. The same
    call again goes on where the last one ended. See docs/concepts.md."""

    data: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="SCENES")]
    """Folder of scene folders: hundreds of scenes, 20 views of each."""
    output: Path
    """Folder for shared_bundle/, the state of the run and its log."""
    bundle: str = "bundled"
    """Shared bundle: `bundled`, a run of ig-ae (folder or config.yml), a bundle's folder, or a Hub id."""
    steps: int = 6000
    """Steps in all; two hours of one CPU core."""
    scenes_per_step: int = 4
    """Scenes a step."""
    rays_per_scene: int = 384
    """Latent pixels of each scene a step, of views that the encoder was not given."""
    learning_rate: float = 2e-3
    """Learning rate of AdamW, at its highest."""
    hold_out: int = 8
    """Scenes, the last by name, that it is measured on and does not learn from."""
    start_from: Optional[str] = None
    """Shared bundle whose scene encoder it begins as, as far as their shapes agree."""
    known_rate: float = 1.0
    """Share of the learning rate for what it begins as; 0 leaves that as it is, and teaches what is new alone."""
    enlarge: Optional[int] = None
    """Times that photos are enlarged before they are encoded; by default as often as where scenes are fitted."""
    seed: int = 0
    """Seed of the network and of all draws."""
    latent_cache: str = "disk"
    """Place of encoded pictures: `memory`, `disk` (the user's cache folder) or a folder."""

    def main(self) -> None:
        check_scenes_folders(self.data, self.output)
        check_least(
            self, steps=1, scenes_per_step=1, rays_per_scene=1, hold_out=0, seed=0, learning_rate=1e-9, known_rate=0
        )
        from latent_nerfstudio.engine.scene_encoder import EncoderTraining, SceneEncoderConfig, learn_scene_encoder

        training = EncoderTraining(**{field.name: getattr(self, field.name) for field in fields(EncoderTraining)})
        output = self.output.expanduser().resolve()
        rest = (self.hold_out, self.start_from, self.latent_cache, self.enlarge)
        folder = learn_scene_encoder(data_folder(self.data), self.bundle, output, training, SceneEncoderConfig(), *rest)
        print(f"Wrote the bundle with its scene encoder to {folder}")
