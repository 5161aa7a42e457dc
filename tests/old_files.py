"""Files as earlier versions wrote them."""

import json
from pathlib import Path
from typing import Any, Dict

from safetensors.torch import save

from latent_nerfstudio.scene_files.scene_file import SceneFile, digest, read_scene_file, stored_tensors


def write_old_scene_file(path: Path, scene: SceneFile, precision: str = "float16") -> None:
    """A scene file with all of its facts, `worker` among them."""
    meta: Dict[str, Any] = {"format": "scene-v1", "name": scene.name, "bundle": scene.bundle_hash}
    meta.update(precision=precision, facts=scene.facts)
    tensors = stored_tensors(scene, precision)
    meta["sha256"] = digest(meta, tensors)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(save(tensors, {"scene": json.dumps(meta)}))
    assert read_scene_file(path).facts == scene.facts
