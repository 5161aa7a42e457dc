"""`lns import-autoencoder`: an autoencoder of the published IG-AE code as a folder that everything here takes."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Optional

import tyro

from latent_nerfstudio.cli.words import Overwrite
from latent_nerfstudio.errors import check_least, problem
from latent_nerfstudio.files.places import check_folder, check_free


@dataclass
class ImportAutoencoder:
    """Turns a checkpoint of the published IG-AE code (gvae_latest.pt) into a folder in diffusers format."""

    source: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="SOURCE")]
    """Torch file with the autoencoder's state dict, alone or as `vae`. Nothing in it is run."""
    output: Path
    """Folder to write."""
    config: Optional[Path] = None
    """Folder with the config.json of the AutoencoderKL; by default it is inferred from the tensors."""
    norm_num_groups: int = 32
    """Groups of its normalisations, which tensors do not tell; unused with `config`."""
    scaling_factor: Optional[float] = None
    """1 / std of raw latents; by default 0.18215 (Stable Diffusion's), and 0.2614 for 16 channels; unused with
    `config`. It matters little: the normaliser is fitted to the data."""
    precision: Literal["float32", "float16"] = "float32"
    """Precision of the weights; with float16, half the size, latents differ in the fourth digit."""
    overwrite: Overwrite = False

    def main(self) -> None:
        check_folder(self.output)
        check_least(self, norm_num_groups=1)
        if self.scaling_factor is not None and not self.scaling_factor > 0:
            raise ValueError(problem("scaling_factor", "a positive number", self.scaling_factor, "try 0.18215"))
        from latent_nerfstudio.files.hub import FILES
        from latent_nerfstudio.files.replacing import check_replaceable, replacing_folder
        from latent_nerfstudio.latent_space import published

        check_free([self.output], self.overwrite)
        check_replaceable(self.output, FILES["autoencoder"])
        state = published.autoencoder_state(published.read_checkpoint(self.source), self.source)
        published.check_held(state, self.source)
        if self.config is None:
            config = published.infer_config(state, self.norm_num_groups, self.scaling_factor)
        else:
            config = published.read_config(self.config)
        vae: Any = published.build_autoencoder(config, state)
        with replacing_folder(self.output, FILES["autoencoder"]) as writing:
            (vae.half() if self.precision == "float16" else vae).save_pretrained(writing)
        widths, channels = list(vae.config.block_out_channels), vae.config.latent_channels
        print(
            f"Wrote an autoencoder of {sum(p.numel() for p in vae.parameters()):,} parameters to {self.output}: "
            f"widths {widths}, {channels} channels, f = {2 ** (len(widths) - 1)}"
        )
        print(f"Use it:  ns-train latent-triplane --data FOLDER --pipeline.model.autoencoder.source {self.output}")
