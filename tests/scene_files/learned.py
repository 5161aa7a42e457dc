"""Scenes to write, a bundle that they belong to, and files that were made by hand."""

import hashlib
import json
from pathlib import Path
from typing import Any, Dict, Optional

import torch
from tiny import latent_model_of, small_nerf

from latent_nerfstudio.models.bundle_writing import write_shared_bundle
from latent_nerfstudio.models.latent_model import LatentModel
from latent_nerfstudio.models.shared_bundle import SharedBundle, read_shared_bundle
from latent_nerfstudio.scene_files.scene_file import SceneFile

BOTH = {"micro_features": 4, "macro_features": 3, "num_base_planes": 2}
MICRO = {"micro_features": 4, "macro_features": 0, "num_base_planes": 0}
MACRO = {"micro_features": 0, "macro_features": 3, "num_base_planes": 2}


def model_of(names: Any = ("a", "b"), source: Any = "identity", **field: Any) -> LatentModel:
    """A latent model with random planes of scenes."""
    return latent_model_of(source, names, nerf=small_nerf(**(field or BOTH)))


def bundle_of(folder: Path, model: LatentModel, **options: Any) -> SharedBundle:
    """What a model's scenes share, written and read."""
    return read_shared_bundle(str(write_shared_bundle(folder, model, 3, {}, **options)))


def scene_of(name: str = "red", bundle_hash: str = "ab12", side: int = 8, seed: int = 0, **parts: Any) -> SceneFile:
    """A random scene of `model_of`'s shapes."""
    random = torch.Generator().manual_seed(seed)
    planes = torch.randn(3, 4, side, side, generator=random)
    weights = torch.randn(2, generator=random)
    return SceneFile(name, bundle_hash, **{"micro_planes": planes, "scene_weights": weights, "facts": {}, **parts})


def equal(first: SceneFile, second: SceneFile) -> bool:
    """Whether two scenes are the same to the last bit."""

    def same(a: Optional[torch.Tensor], b: Optional[torch.Tensor]) -> bool:
        return a is b if a is None or b is None else torch.equal(a, b)

    names = [(s.name, s.bundle_hash, s.facts) for s in (first, second)]
    parts = [(getattr(first, name), getattr(second, name)) for name in ("micro_planes", "scene_weights")]
    return names[0] == names[1] and all(same(*pair) for pair in parts)


def raw_file(tensors: Dict[str, Any], meta: Any, data: bytes = b"") -> bytes:
    """A safetensors file by hand: entries of the header, the metadata entry `scene`, and the bytes of the tensors."""
    text = meta if isinstance(meta, str) else json.dumps(meta)
    header = json.dumps({"__metadata__": {"scene": text}, **tensors}).encode()
    return len(header).to_bytes(8, "little") + header + data


def meta_of(**changes: Any) -> Dict[str, Any]:
    """Metadata of a scene, with a hash that is that of nothing."""
    meta = {"format": "scene-v1", "name": "red", "bundle": "ab12", "precision": "float32", "facts": {}}
    return {**meta, "sha256": hashlib.sha256(b"").hexdigest(), **changes}
