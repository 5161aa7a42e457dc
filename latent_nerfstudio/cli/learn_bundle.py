"""`lns learn-bundle`: a shared bundle of your own kind of objects."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Optional

import tyro


@dataclass
class LearnBundle:
    """Learns a shared bundle from many scenes of one kind, and measures what it gains on scenes that it holds out.
    Joint training (`ns-train ig-ae`) from the bundle that ships, then a decoder for what scenes render; the same call
    again goes on where the last one ended. See docs/ig_ae.md."""

    scenes: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="SCENES")]
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
    scenes_per_batch: int = 8
    """Scenes, and pictures, of a step; fewer where there are fewer."""
    seed: int = 0
    """Seed of the trainings."""
    latent_cache: str = "disk"
    """Place of encoded pictures: `memory`, `disk` (the user's cache folder) or a folder."""

    def main(self) -> None:
        from latent_nerfstudio.fleet.learn_bundle import learn_bundle

        learn_bundle(self.job())
        print((self.output / "report.md").read_text(encoding="utf-8"))
        print(f"Bundle: {self.output / 'shared_bundle'}; use it with lns fit-scenes --bundle {self.output}")

    def job(self):
        """The flags as a job, checked."""
        from latent_nerfstudio.errors import check_least, problem
        from latent_nerfstudio.fleet.learn_bundle import BundleJob, split_scenes
        from latent_nerfstudio.fleet.plan import find_names
        from latent_nerfstudio.method_configs.igae import ig_ae
        from latent_nerfstudio.method_configs.triplane import latent_triplane
        from latent_nerfstudio.models.shared_bundle import read_shared_bundle

        check_least(self, steps=20, decoder_steps=20, scenes_per_batch=1, seed=0)
        if self.photos is not None and not self.photos.is_dir():
            raise FileNotFoundError(problem("photos", "a folder of pictures", self.photos, "check --photos"))
        data, bundle = self.scenes.expanduser().resolve(), read_shared_bundle(self.bundle)
        if bundle.autoencoder["is_identity"]:
            do = "name another --bundle, such as bundled"
            raise ValueError(problem("bundle", "one with an autoencoder to begin with", "one of RGB", do))
        train, held_out = split_scenes(find_names(data), self.hold_out)
        return BundleJob(
            data,
            self.output.expanduser().resolve(),
            bundle,
            ig_ae.config,  # type: ignore[arg-type]
            latent_triplane.config,  # type: ignore[arg-type]
            self.latent_cache,
            train,
            held_out,
            self.steps,
            self.decoder_steps,
            min(self.scenes_per_batch, len(train)),
            None if self.photos is None else str(self.photos.expanduser().resolve()),
            self.seed,
        )
