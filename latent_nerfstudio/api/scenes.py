"""Learned scenes, ready to be rendered, whichever run or file they come from."""

import operator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Dict, Iterator, List, Literal, Optional, Sequence, SupportsIndex, Tuple, Union

import numpy as np
import torch
from jaxtyping import Float
from nerfstudio.cameras.cameras import Cameras
from PIL import Image
from safetensors.torch import save
from torch import Tensor

from latent_nerfstudio.api.cameras import Ring, check_places, ring_in_box, ring_of
from latent_nerfstudio.api.codec import Codec, Images, as_tensor
from latent_nerfstudio.api.progress import progress
from latent_nerfstudio.api.surfaces import PointCloud, mesh, point_cloud
from latent_nerfstudio.errors import check_whole, problem
from latent_nerfstudio.fields.scene_view import SceneView
from latent_nerfstudio.files.places import as_path
from latent_nerfstudio.files.replacing import replacing_file, write_bytes
from latent_nerfstudio.latent_space.cameras import as_cameras, size_of
from latent_nerfstudio.latent_space.latent_space import as_bytes
from latent_nerfstudio.models.latent_model import LatentModel
from latent_nerfstudio.models.shared_bundle import SharedBundle
from latent_nerfstudio.names import as_names, check_known
from latent_nerfstudio.scene_files.model_scenes import field_of, scene_files_of
from latent_nerfstudio.scene_files.sources import write_scenes

MOST_SIDE = 16_384
"""Pixels along the side of a picture that is rendered at most."""

AT_ONCE = 8
"""Cameras that are rendered together."""

Scene = Union[str, SceneView]
"""A scene by its name, or a view of one or two, from `Scenes.blend` or `Scenes.part`."""


@dataclass(frozen=True)
class Pictures:
    """What cameras see of a scene, on the host. `len`, slices and loops go over the pictures."""

    rgb: Float[Tensor, "n height width 3"]
    """In [0, 1]."""
    latent: Float[Tensor, "n height width 3"]
    """The latents as a picture in [0, 1], by a projection that does not change from picture to picture."""
    depth: Float[Tensor, "n height width 1"]
    """Distance along the ray, world units; the far end of the scene where nothing is met. `depth_along_z` turns it into
    distance from the plane of the camera."""
    accumulation: Float[Tensor, "n height width 1"]
    """Opacity in [0, 1]."""
    raw_latent: Float[Tensor, "n channels latent_height latent_width"]
    """Raw latents, un-normalised, in the autoencoder's convention."""

    def __len__(self) -> int:
        return len(self.rgb)

    def __getitem__(self, index: Union[SupportsIndex, slice]) -> "Pictures":
        if not isinstance(index, slice):
            place = operator.index(index)
            if not -len(self) <= place < len(self):
                raise IndexError(problem("pictures", f"an index below {len(self)}", place, "count from 0"))
            index = slice(place, place + 1 or None)
        return Pictures(**{name: value[index] for name, value in vars(self).items()})

    def __iter__(self) -> Iterator["Pictures"]:
        return (self[index] for index in range(len(self)))

    def save(self, folder: Union[str, Path]) -> List[Path]:
        """Writes everything into a folder, which is made if it is not there: the colours as 0000.png and so on;
        `depth.npy` and `accumulation.npy` [n, H, W], float32; and `latents.safetensors`, raw latents, which
        `lns decode-latents` and `read_latents` take. Returns the files."""
        paths, place = save_pictures(folder, self.rgb), Path(folder).expanduser()
        for name in ("depth", "accumulation"):
            paths.append(place / f"{name}.npy")
            with replacing_file(paths[-1]) as stream:
                np.save(stream, vars(self)[name][..., 0].float().numpy())
        paths.append(place / "latents.safetensors")
        write_bytes(paths[-1], save({"latents": self.raw_latent.contiguous()}))
        return paths


def save_pictures(folder: Union[str, Path], pictures: Float[Tensor, "n height width 3"]) -> List[Path]:
    """Writes pictures in [0, 1] as 0000.png and so on into a folder, which is made if it is not there, and returns
    the files. Raises FileExistsError where a file has the folder's name."""
    place = as_path(folder)
    if place.is_file():
        raise FileExistsError(problem(place, "a folder, or nothing there", "a file", "name another"))
    place.mkdir(parents=True, exist_ok=True)
    paths = [place / f"{index:04d}.png" for index in range(len(pictures))]
    for path, picture in zip(paths, as_bytes(pictures), strict=True):
        with replacing_file(path) as stream:
            Image.fromarray(picture).save(stream, "PNG")
    return paths


@dataclass(eq=False, repr=False)
class Scenes:
    """Learned scenes of a run, of scene files, of an archive or of the Hub; `load` makes them.

    All that takes a scene raises ValueError for an unknown one, and names the nearest; `blend`, `part`, `planes`,
    `weights`, `density`, `mesh` and `save` do for a NeRF without tri-planes, and what takes cameras for those of
    several sizes."""

    model: LatentModel
    """What renders them."""
    source: str
    """Where they come from, for messages."""
    bundle: Optional[SharedBundle] = None
    """The shared bundle that they belong to, if one is known."""
    training: Union[Cameras, Exception, None] = None
    """Their training cameras, if the data are there; or the error that reading them ended with."""
    rings: Dict[str, Ring] = field(default_factory=dict)
    """How to walk around those of them of which that is known, by name."""
    facts: Dict[str, Dict] = field(default_factory=dict)
    """What is known of each, by name."""
    title: str = ""
    """What people call them; by default the last part of the source."""

    def __post_init__(self) -> None:
        self.title = self.title or Path(self.source).name or self.source

    @property
    def names(self) -> List[str]:
        """Names of the scenes."""
        return list(self.model.scene_names)

    def __len__(self) -> int:
        return len(self.model.scene_names)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __repr__(self) -> str:
        shown = ", ".join(self.names[:3]) + (", ..." if len(self) > 3 else "")
        return f"Scenes({len(self)} of {self.source}: {shown})"

    @property
    def box(self) -> Float[Tensor, "2 3"]:
        """Lower and upper corner of the scene box, world units."""
        return self.model.scene_box.aabb.detach().float().cpu()

    def box_of(self, scene: Scene) -> Float[Tensor, "2 3"]:
        """The box of a scene in its own units; it may have been moved and scaled into the bundle's."""
        return self.model.box_of(self.view(scene).scene)

    @cached_property
    def codec(self) -> Codec:
        """Their autoencoder, with the decoder as it was trained with them."""
        return Codec(self.model.latent_space.autoencoder)

    def index(self, name: str) -> int:
        """The place of a scene."""
        check_known([name], self.names, self.source)
        return self.model.scene_names.index(name)

    def cameras(self, name: str) -> Cameras:
        """The training cameras of a scene.

        Raises:
            ValueError: scenes that came without their data.
            OSError: the data are no longer there.
        """
        index = self.index(name)
        if isinstance(self.training, Exception):
            raise self.training
        if self.training is None:
            do = "load the run that was trained on them, or use orbit()"
            raise ValueError(problem(self.source, "scenes with their training cameras", "none", do))
        scenes = (self.training.metadata or {}).get("scene_index")
        chosen = slice(None) if scenes is None else scenes.flatten() == index
        cameras = self.training[chosen]
        cameras.metadata = None
        return cameras

    def ring(self, name: str) -> Ring:
        """How to walk around a scene: about what its training cameras look at, with their lens, or about its box."""
        box = self.box_of(name)
        if name not in self.rings:
            known = isinstance(self.training, Cameras)
            self.rings[name] = ring_of(self.cameras(name), box) if known else ring_in_box(box)
        return self.rings[name]

    def orbit(self, name: str, views: int = 60, size: Optional[int] = None) -> Cameras:
        """Cameras that walk around a scene, see `ring`; scenes that were seen from one side alone sway within it.

        Args:
            name: the scene.
            views: number of cameras.
            size: height of the pictures, pixels; by default that of the training pictures.
        """
        return self.ring(name).resized(size).cameras(views)

    def blend(self, first: str, second: str, share: float = 0.5) -> SceneView:
        """Two scenes in one: their micro planes and scene weights interpolated; `share`, in [0, 1], is the second's."""
        field_of(self.model)
        return SceneView(self.index(first), self.index(second), share)

    def part(self, name: str, parts: str = "macro", base_plane: int = 0) -> SceneView:
        """One kind of a scene's planes alone: `macro`, `micro`, or one `base plane`, of those that the model has."""
        known = field_of(self.model).parts
        if parts not in known:
            raise ValueError(problem("parts", f"one of {', '.join(known)}", repr(parts), "choose one of these"))
        if parts == "base plane":
            check_whole("base_plane", base_plane, 0, len(field_of(self.model).base_planes) - 1, "choose one of these")  # type: ignore[arg-type]
        return SceneView(self.index(name), parts=parts, base_plane=base_plane)  # type: ignore[arg-type]

    def render(self, scene: Scene, cameras: Cameras) -> Pictures:
        """What cameras see of a scene.

        Args:
            scene: its name, or a view from `blend` or `part`.
            cameras: one or more of one size, from `orbit`, `cameras`, `camera_path` or made by hand.
        """
        check_renderable(cameras)
        return self.render_each([scene] * cameras.size, cameras)

    def render_each(self, scenes: Sequence[Scene], cameras: Cameras) -> Pictures:
        """As `render`, each camera in a scene of its own: frames of a video that blends, many scenes from one side."""
        return joined(list(progress(self.stream(scenes, cameras), "Rendering", -(-cameras.size // AT_ONCE))))

    def stream(self, scenes: Sequence[Scene], cameras: Cameras) -> Iterator[Pictures]:
        """As `render_each`, a few pictures at a time: what a long video needs. What is wrong is refused before any."""
        check_renderable(cameras)
        views, flat = [self.view(scene) for scene in as_names(scenes)], cameras.reshape((-1,))
        if len(views) != len(flat):
            raise ValueError(problem("scenes", f"one for each of {len(flat)} cameras", len(views), "give as many"))
        starts = range(0, len(views), AT_ONCE)
        return (self._render(views[i : i + AT_ONCE], flat[i : i + AT_ONCE]) for i in starts)

    def view(self, scene: Scene) -> SceneView:
        """A scene as what `CameraRenderer.render_scenes` takes."""
        return scene if isinstance(scene, SceneView) else SceneView(self.index(scene))

    def _render(self, views: Sequence[SceneView], cameras: Cameras) -> Pictures:
        outputs = self.model.renderer.render_scenes(cameras.to(self.model.device), views, with_latents=True)
        raw = self._raw(outputs.pop("latent_channels"))
        pictures = {name: outputs[name].cpu() for name in ("rgb", "latent", "depth", "accumulation")}
        return Pictures(**pictures, raw_latent=raw)

    def latents(self, scene: Scene, cameras: Cameras) -> Float[Tensor, "n channels latent_height latent_width"]:
        """Raw latents of what cameras see, un-normalised, in the autoencoder's convention: `vae.decode(latents)` of the
        same autoencoder shows them, and a diffusers pipeline works on `(latents - shift_factor) * scaling_factor`, both
        of `codec`. Pictures that would be taller than the training ones are not: see `rendered_size`."""
        check_renderable(cameras)
        view, flat = self.view(scene), cameras.reshape((-1,)).to(self.model.device)
        starts = progress(range(0, len(flat), AT_ONCE), "Rendering", -(-len(flat) // AT_ONCE))
        return torch.cat([self._latents(view, flat[start : start + AT_ONCE]) for start in starts])

    def _latents(self, view: SceneView, cameras: Cameras) -> Float[Tensor, "n channels h w"]:
        return self._raw(self.model.renderer.scene_latents(cameras, [view] * len(cameras))[0]["latent"])

    def _raw(self, latents: Float[Tensor, "n h w channels"]) -> Float[Tensor, "n channels h w"]:
        """Latents as the autoencoder has them, on the host."""
        return self.model.latent_space.normalizer.inverse(latents).permute(0, 3, 1, 2).contiguous().cpu()

    def rendered_size(self, cameras: Cameras) -> Tuple[int, int]:
        """Height and width, pixels, of the pictures that the latents of cameras stand for: those of the cameras, or
        less where these are taller than the training pictures."""
        return self.model.renderer.rendered_size(as_cameras(cameras)[:1])

    def planes(self, scene: Scene) -> Float[Tensor, "3 features rows cols"]:
        """The composed planes of a scene, XY, XZ and YZ: its micro planes, then its macro planes sum_i W_s^i B_i."""
        with torch.no_grad():
            return field_of(self.model).view_planes([self.view(scene)])[0].float().cpu()

    def weights(self, name: str) -> Float[Tensor, "bases"]:
        """The scene weights W_s; empty where scenes share no base planes."""
        table = field_of(self.model).scene_weights
        return torch.zeros(0) if table is None else table[self.index(name)].detach().float().cpu()

    def density(self, name: str, points: Any) -> Float[Tensor, "points"]:
        """Density, a unit of length, of a scene at points [n, 3] in world units, on the host; 0 outside of its box."""
        field, nerf, index = field_of(self.model), self.model.nerf, self.index(name)
        points = as_tensor(points, "points", "finite numbers [n, 3]").float()
        if points.ndim != 2 or points.shape[1] != 3 or not bool(points.isfinite().all()):
            got = f"others, {list(points.shape)}"
            raise ValueError(problem("points", "finite numbers [n, 3]", got, "give world coordinates"))
        if not len(points):
            return torch.zeros(0)
        with torch.no_grad():
            placement = self.model.placements[index]
            place = nerf.normalize(placement.points(points.to(self.model.device)))  # type: ignore[operator]
            planes = field.view_planes([SceneView(index)])
            values, _ = field(place, torch.zeros(len(place), dtype=torch.long, device=place.device), planes)
        low, high = self.box_of(name).to(points)
        inside = (place.abs() <= 1).all(dim=-1) & ((points >= low) & (points <= high)).all(dim=-1).to(place.device)
        return torch.where(inside, values * placement.scale, torch.zeros_like(values)).float().cpu()

    def point_cloud(self, name: str, views: int = 24, points: int = 200_000, seed: int = 0) -> PointCloud:
        """Coloured points on what views of a scene meet, see `api.surfaces`; `.save("x.ply")` writes them."""
        return point_cloud(self, name, views, points, seed)

    def mesh(self, name: str, resolution: int = 128, level: Optional[float] = None, views: int = 24) -> Any:
        """A scene's surface as a `trimesh.Trimesh` with vertex colours, see `api.surfaces`."""
        return mesh(self, name, resolution, level, views)

    def save(
        self,
        output: Union[str, Path],
        names: Sequence[str] = (),
        precision: Literal["float16", "float32", "int8"] = "float16",
    ) -> Path:
        """Writes scenes as files NAME.safetensors into a folder, or into an archive NAME.zip, against their bundle.

        Args:
            output: the folder or the archive.
            names: which scenes; by default all.
            precision: of the micro planes.

        Raises:
            ValueError: scenes that belong to no bundle.
            OSError: there is no room, or the folder cannot be written to.
        """
        names = as_names(names)
        check_known(names, self.names, self.source)
        field_of(self.model)
        if self.bundle is None:
            do = "call lns export-scenes, which writes the bundle as well"
            raise ValueError(problem(self.source, "scenes of a shared bundle", "scenes that learned their own", do))
        place = as_path(output)
        write_scenes(place, scene_files_of(self.model, self.bundle.hash, self.facts, names or self.names), precision)
        return place

    def encode(self, pictures: Images) -> Float[Tensor, "n channels latent_height latent_width"]:
        """Raw latents of pictures, see `Codec.encode`."""
        return self.codec.encode(pictures)

    def decode(
        self, latents: Union[Tensor, np.ndarray], height: Optional[int] = None, width: Optional[int] = None
    ) -> Float[Tensor, "n height width 3"]:
        """Pictures of raw latents, by the decoder as it was trained with the scenes; see `Codec.decode`."""
        return self.codec.decode(latents, height, width)


def joined(parts: Sequence[Pictures]) -> Pictures:
    """Pictures of one size behind each other."""
    return Pictures(**{name: torch.cat([vars(part)[name] for part in parts]) for name in vars(parts[0])})


def check_renderable(cameras: Any) -> None:
    """Refuses cameras that cannot be rendered together, or show nothing that anyone could see."""
    cameras = as_cameras(cameras)
    if not len(cameras):
        raise ValueError(problem("cameras", "at least one", "none", "give some"))
    height, width = size_of(cameras)
    if bool((cameras.height != height).any() or (cameras.width != width).any()):
        do = "render those of each size by themselves"
        raise ValueError(problem("cameras", "cameras of one size", "several sizes", do))
    if not 0 < min(height, width) <= max(height, width) <= MOST_SIDE:
        raise ValueError(problem("cameras", f"1 to {MOST_SIDE} pixels a side", f"{height} x {width}", "resize them"))
    check_places(cameras, "cameras")
