"""Pictures and masks of a dataparser, decoded whatever their mode, and named where they cannot be."""

from pathlib import Path
from typing import Any, Dict, Literal, Optional

import numpy as np
import torch
from jaxtyping import Bool, UInt8
from nerfstudio.data.datasets.base_dataset import InputDataset
from torch import Tensor

from latent_nerfstudio.errors import problem
from latent_nerfstudio.pictures import read_mask, read_picture


class PictureDataset(InputDataset):
    """Nerfstudio's dataset, with pictures and masks of all modes. The dataparser's `mask_filenames`, and its metadata
    `dynamic_masks`, which mark what is left out, may hold None for pictures that are kept whole."""

    def get_numpy_image(self, image_idx: int) -> UInt8[np.ndarray, "height width channels"]:
        return read_picture(self._dataparser_outputs.image_filenames[image_idx], self.scale_factor)

    def get_data(self, image_idx: int, image_type: Literal["uint8", "float32"] = "float32") -> Dict[str, Any]:
        """A picture, and its `mask` [height, width, 1] where any picture of the set has one."""
        image = self.get_image_uint8(image_idx) if image_type == "uint8" else self.get_image_float32(image_idx)
        data: Dict[str, Any] = {"image_idx": image_idx, "image": image}
        mask = self.kept(image_idx, (image.shape[0], image.shape[1]))
        if mask is not None:
            data["mask"] = mask[..., None]
            if self.mask_color:
                color = torch.tensor(self.mask_color) * torch.ones_like(image)
                data["image"] = torch.where(data["mask"], image, color.to(image))
        return {**data, **self.get_metadata(data)}

    def kept(self, index: int, size: tuple[int, int]) -> Optional[Bool[Tensor, "height width"]]:
        """Which pixels the masks of a picture keep; None where no picture has masks."""
        outputs = self._dataparser_outputs
        named, dynamic = outputs.mask_filenames, outputs.metadata.get("dynamic_masks")
        if named is None and dynamic is None:
            return None
        kept = np.ones(size, dtype=bool)
        for paths, marks_ignored in ((named, False), (dynamic, True)):
            path: Optional[Path] = None if paths is None else paths[index]
            if path is None:
                continue
            mask = read_mask(path, self.scale_factor, marks_ignored)
            if mask.shape != size:
                expected, got = ("{1} x {0} pixels".format(*sides) for sides in (size, mask.shape))
                raise ValueError(problem(path, f"{expected}, as its image", got, "resize the mask"))
            kept &= mask
        return torch.from_numpy(kept)
