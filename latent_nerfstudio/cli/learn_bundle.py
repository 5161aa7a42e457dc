"""`lns learn-bundle`: a shared bundle of your own kind of objects."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

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
