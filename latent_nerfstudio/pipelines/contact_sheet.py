"""A picture of a run: one row a scene, photo beside what the model makes of the same camera."""

import json
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

import torch
from jaxtyping import Float
from nerfstudio.utils import writer
from PIL import Image, ImageDraw
from torch import Tensor

from latent_nerfstudio.data.latent_cache import group_by
from latent_nerfstudio.data.latent_datamanager import scene_indices
from latent_nerfstudio.files.reading import read_rows
from latent_nerfstudio.files.replacing import replacing_file, write_text
from latent_nerfstudio.latent_space.latent_space import as_bytes, as_float
from latent_nerfstudio.models.rendering import SOLID
from latent_nerfstudio.pictures import read_picture
from latent_nerfstudio.pipelines.latent_pipeline import LatentPipeline, summarise

COLUMNS = ("photo", "render", "autoencoder", "latent of photo", "latent of render", "error x 4", "depth")
HEADER = 16
"""Height of the line of titles in pixels."""

SCENES_PICTURED = 6
"""Scenes whose held-out views are drawn and measured while training."""


def draw_views(pipeline: LatentPipeline, folder: Path, step: int, seconds: float) -> None:
    """Draws held-out views: a sheet in `pictures/`, a row of `metrics.jsonl`, both in Nerfstudio's logger as well."""
    path = folder / "pictures" / f"step-{step + 1:09d}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_contact_sheet(pipeline, path, SCENES_PICTURED)
    metrics = measure_views(pipeline, one_view_a_scene(pipeline)[:SCENES_PICTURED])
    append_row(folder / "metrics.jsonl", {"step": step + 1, "seconds": seconds, **metrics})
    writer.put_image("Pictures", torch.from_numpy(read_picture(path)) / 255, step)
    writer.put_dict("Pictured views", metrics, step)


def append_row(path: Path, row: Dict[str, Any]) -> None:
    """Adds a row to a file of JSON lines, and drops rows of later steps, which a broken-off run has left."""
    rows = read_rows(path, "move it away") if path.is_file() else []
    kept = [own for own in rows if isinstance(own.get("step"), (int, float)) and own["step"] < row["step"]]
    write_text(path, "".join(json.dumps(own) + "\n" for own in (*kept, row)))


def write_contact_sheet(pipeline: LatentPipeline, path: Path, max_scenes: int = 8) -> Path:
    """Draws a held-out view of each of the first scenes and writes it as PNG, atomically."""
    pipeline.eval()
    rows = [contact_row(pipeline, view) for view in one_view_a_scene(pipeline)[:max_scenes]]
    pipeline.train()
    sheet = with_titles(stack_rows(rows), rows[0].shape[1] // len(COLUMNS))
    with replacing_file(path) as stream:
        sheet.save(stream, format="PNG")
    return path


def one_view_a_scene(pipeline: LatentPipeline) -> List[int]:
    """The middle held-out view of each scene."""
    scenes = scene_indices(pipeline.datamanager.eval_dataset.cameras)
    return [members[len(members) // 2] for _, members in sorted(group_by(scenes).items())]


def measure_views(pipeline: LatentPipeline, views: List[int]) -> Dict[str, float]:
    """Means of the metrics over some held-out views, and `gap`: dB from the ceiling to the decoded renders."""
    means = summarise(pipeline.measure(views), scenes=[], names=[], with_std=False)
    return {**means, "gap": means["autoencoder_psnr"] - means["psnr"]}


@torch.no_grad()
def contact_row(pipeline: LatentPipeline, view: int) -> Float[Tensor, "height all_widths 3"]:
    """The pictures of one held-out view, side by side, in the order of `COLUMNS`."""
    model, space = pipeline.model, pipeline.space
    photo = as_float(pipeline.datamanager.cached_eval[view]["image"]).to(model.device)
    outputs = model.get_outputs_for_camera(pipeline.datamanager.eval_dataset.cameras[view : view + 1])
    pictures = [
        photo,
        outputs["rgb"],
        model.reconstruct(photo),
        model.renderer.latent_picture(space.encode(photo[None])[0], *photo.shape[:2]),
        outputs["latent"],
        ((outputs["rgb"] - photo).abs() * 4).clamp(0, 1),
        grey_depth(outputs["depth"], outputs["accumulation"]),
    ]
    return torch.cat(pictures, dim=1).cpu()


def grey_depth(
    depth: Float[Tensor, "height width 1"],
    accumulation: Float[Tensor, "height width 1"],
    limits: Optional[Tuple[float, float]] = None,
) -> Float[Tensor, "height width 3"]:
    """Depth as grey between limits, by default its own: near is light, far is dark, empty is white."""
    solid = accumulation > SOLID
    low, high = limits or map(float, (depth[solid] if bool(solid.any()) else depth).aminmax())
    grey = (0.9 - 0.8 * (depth - low) / max(high - low, 1e-6)).clamp(0.1, 0.9)
    return where_met(grey, accumulation).expand(-1, -1, 3)


def where_met(
    picture: Float[Tensor, "height width channels"], accumulation: Float[Tensor, "height width 1"]
) -> Float[Tensor, "height width channels"]:
    """A picture of what rays meet, white elsewhere."""
    return torch.where(accumulation > SOLID, picture, 1.0)


def stack_rows(rows: List[Float[Tensor, "_ _ 3"]]) -> Float[Tensor, "height width 3"]:
    """Rows below each other, white where they are narrower than the widest."""
    width = max(row.shape[1] for row in rows)
    return torch.cat([torch.nn.functional.pad(row, (0, 0, 0, width - row.shape[1]), value=1.0) for row in rows])


def with_titles(sheet: Float[Tensor, "height width 3"], column_width: int) -> Image.Image:
    page = Image.fromarray(as_bytes(torch.nn.functional.pad(sheet, (0, 0, 0, 0, HEADER, 0), value=1.0)))
    draw = ImageDraw.Draw(page)
    for index, title in enumerate(COLUMNS):
        draw.text((index * column_width + 4, 2), title, fill="black")
    return page
