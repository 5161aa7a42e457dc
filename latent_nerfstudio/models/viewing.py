"""The panel of a model in Nerfstudio's viewer: scenes, blends, planes alone, photos beside renders, error messages."""

import math
import time
import traceback
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple, Union

import numpy as np
import torch
from jaxtyping import Float
from nerfstudio.cameras.cameras import Cameras
from nerfstudio.utils.rich_utils import CONSOLE
from nerfstudio.viewer.viewer_elements import ViewerButton, ViewerControl, ViewerDropdown, ViewerElement, ViewerSlider
from torch import Tensor

from latent_nerfstudio.data.nearest_photos import NearestPhotos
from latent_nerfstudio.fields.scene_view import SceneView
from latent_nerfstudio.fields.triplane_field import TriplaneField
from latent_nerfstudio.latent_space.cameras import size_of
from latent_nerfstudio.latent_space.resolution import resized
from latent_nerfstudio.models.rendering import SOLID
from latent_nerfstudio.models.viewer_address import tell_if_open

SLOW = 0.1
"""Seconds a frame from which on the size of pictures matters more than that they are seen."""

MOST_ASPECT = 20.0
"""Width over height of a picture at most, and height over width."""

MOST_SIDE = 4096
"""Pixels along a side of a frame at most; the panel's own slider ends at 2048, which a browser's message need not."""

PHOTO_OUTPUTS = ("photo", "render_and_photo")
"""Outputs that the viewer alone has."""


class ScenePanel(ViewerElement, ViewerControl):
    """Elements of the viewer that choose what is shown; one element to Nerfstudio, so that their order is ours. Nothing
    that is chosen here changes a parameter, or a render that is not the viewer's."""

    def __init__(
        self, names: Sequence[str], start: str, field: Optional[TriplaneField] = None, moving_height: int = 0
    ) -> None:
        super().__init__("Scenes", cb_hook=lambda element: None)
        self.index_of = {name: index for index, name in enumerate(names)}
        self.photos: Optional[NearestPhotos] = None
        self.last_error, self.shows_frusta = "", True
        self.moving_height, self.quickest = moving_height, 0.0
        parts = ("all",) if field is None else field.parts
        bases = 0 if field is None or field.base_planes is None else len(field.base_planes)
        self.scene = ViewerDropdown("Scene", start, list(names))
        self.other = ViewerDropdown("Blend with", next((n for n in names if n != start), start), list(names))
        self.share = ViewerSlider("Blend", 0.0, 0.0, 1.0, 0.02, hint="Share of the second scene")
        self.parts = ViewerDropdown("Planes", "all", list(parts), hint="Macro planes are what scenes share")
        self.base_plane = ViewerSlider("Base plane", 0, 0, max(1, bases - 1), 1, hint="Shown by Planes: base plane")
        self.look = ViewerButton("Look at the scene", lambda _: self.look_at_scene())
        self.elements: List[ViewerElement] = [self.scene]
        self.elements += [self.other, self.share] if field is not None and len(names) > 1 else []
        self.elements += [self.parts, self.base_plane] if len(parts) > 1 else []
        self.elements.append(self.look)

    @property
    def current_scene(self) -> int:
        return self.index_of[self.scene.value]

    def view(self) -> SceneView:
        share = float(self.share.value)
        other = self.index_of[self.other.value] if share > 0 else None
        return SceneView(self.current_scene, other, share, self.parts.value, int(self.base_plane.value))  # type: ignore[arg-type]

    def install(self, viser_server: Any) -> None:
        """Puts the elements where Nerfstudio puts this one; a change of any is a change of this one."""
        for element in self.elements:
            if element is not self.look:
                element.cb_hook = self.changed
            element.install(viser_server)

    def changed(self, element: ViewerElement) -> None:
        if element is self.scene:
            self.show_frusta()
        self.cb_hook(self)

    def show_frusta(self, visible: Optional[bool] = None) -> None:
        """Shows only the training cameras of the chosen scene, or none; None keeps the last choice."""
        self.shows_frusta = self.shows_frusta if visible is None else visible
        own = None if self.photos is None else set(self.photos.of_scene(self.current_scene).tolist())
        with self.viser_server.atomic():
            for index, handle in getattr(self.viewer, "camera_handles", {}).items():
                handle.visible = self.shows_frusta and (own is None or index in own)

    def _create_gui_handle(self, viser_server: Any) -> None:
        """None: the elements have their own."""

    def _setup(self, viewer: Any) -> None:
        """Called when Nerfstudio's viewer is there: from now on this panel makes the frames of all browsers."""
        super()._setup(viewer)
        tell_if_open(viewer.config)
        read = viewer.get_camera_state
        viewer.get_camera_state = lambda client: bounded_state(read(client))
        viewer.set_camera_visibility, draw = self.show_frusta, viewer.init_scene

        def init_scene(*args: Any, **options: Any) -> None:
            draw(*args, **options)
            self.show_frusta()

        viewer.init_scene = init_scene
        viewer.viser_server.on_client_connect(self.welcome)
        for client in viewer.viser_server.get_clients().values():
            self.welcome(client)

    def welcome(self, client: Any) -> None:
        """Starts a browser's camera where the scene is seen, not inside of it, and adopts its frames."""
        self.place(client)
        machine = self.viewer.render_statemachines.get(client.client_id)
        if machine is not None:
            self.adopt(machine)

    def adopt(self, machine: Any) -> None:
        """Makes a RenderStateMachine, a thread of the viewer, show what the panel says and survive any error."""
        viewer, render_image, send = machine.viewer, machine._render_img, machine._send_output_to_viewer

        def outputs_for_camera(camera: Cameras, obb_box: Any = None) -> Dict[str, Tensor]:
            model = viewer.get_model()
            return self.frame(machine, camera, lambda view: model.get_outputs_for_camera(camera, obb_box, view=view))

        def whole_frame(state: Any) -> Dict[str, Tensor]:
            try:
                return render_image(state)
            except Exception as error:  # before it has come to a camera, whose size it would have
                return self.instead(machine, error, (256, 384))

        def sent(outputs: Dict[str, Tensor], *args: Any, **options: Any) -> None:
            client = machine.client
            machine.client = Through(client, camera=Through(client.camera, aspect=bounded(client.camera.aspect)))
            try:
                send(outputs, *args, **options)
            except Exception as error:  # a browser that has gone, for instance
                self.report(machine, error)
            finally:
                machine.client = client

        own = {"get_outputs_for_camera": outputs_for_camera}
        machine.viewer = Through(viewer, get_model=lambda: Through(viewer.get_model(), **own))
        machine._render_img, machine._send_output_to_viewer = whole_frame, sent

    def look_at_scene(self) -> None:
        for client in self.viser_server.get_clients().values():
            self.place(client)

    def place(self, client: Any) -> None:
        if self.photos is None:
            return
        from nerfstudio.viewer.viewer import VISER_NERFSTUDIO_SCALE_RATIO

        position, target, fov = self.photos.start(self.current_scene)
        with client.atomic():
            client.camera.fov = fov
            client.camera.position = position * VISER_NERFSTUDIO_SCALE_RATIO
            client.camera.look_at = target * VISER_NERFSTUDIO_SCALE_RATIO

    def frame(
        self, client: Any, camera: Cameras, render: Callable[[SceneView], Dict[str, Tensor]]
    ) -> Dict[str, Tensor]:
        """A frame of the viewer. An error, which would end the viewer's thread, becomes a picture and a message. With
        photos there are also `photo`, the nearest one, and `render_and_photo`, drawn only while they are selected."""
        shrink(camera)
        self.enlarge_moving(client, camera)
        started = time.perf_counter()
        try:
            outputs = render(self.view())
            depth = met_depth(outputs["depth"], outputs["accumulation"])
            pictures = {**outputs, "depth": depth, **self.photo_outputs(client, camera, outputs["rgb"])}
        except Exception as error:
            height, width = size_of(camera)
            return self.instead(client, error, (max(1, height), max(1, width)), camera.device)
        self.last_error = ""
        seconds = time.perf_counter() - started
        self.quickest = min(self.quickest or seconds, seconds)
        return pictures

    def enlarge_moving(self, client: Any, camera: Cameras) -> None:
        """Enlarges in place a camera that Nerfstudio renders smaller than `moving_height` because it moves. While
        frames take longer than 1/30 s, Nerfstudio asks for fewer and fewer pixels, down to 30 rows; but latent pictures
        have 64 times fewer rays, and are hardly quicker when smaller. If no frame came within `SLOW`, nothing is
        changed."""
        height, _ = size_of(camera)
        wanted = min(self.moving_height, client.viewer.control_panel.max_res)
        if client.state != "high" and 0 < height < wanted and self.quickest < SLOW:
            camera.rescale_output_resolution(wanted / height, scale_rounding_mode="round")

    def photo_outputs(self, client: Any, camera: Cameras, rgb: Float[Tensor, "height width 3"]) -> Dict[str, Tensor]:
        """`photo` and `render_and_photo`; unless they are selected, the render stands in for them."""
        if self.photos is None:
            return {}
        panel = client.viewer.control_panel
        if not {panel.output_render, panel.split and panel.split_output_render} & set(PHOTO_OUTPUTS):
            return dict.fromkeys(PHOTO_OUTPUTS, rgb)
        view = self.view()
        shown = view.scene if view.other is None or view.share <= 0.5 else view.other
        photo = self.photos.nearest(camera, shown).to(rgb)
        height, width = rgb.shape[:2]
        render = middle(rgb, round(height * photo.shape[1] / photo.shape[0]))  # as wide as the photo, so of one scale
        beside = [fitted(render, height, width // 2), fitted(photo, height, width - width // 2)]
        return dict(zip(PHOTO_OUTPUTS, (fitted(photo, height, width), torch.cat(beside, dim=1)), strict=True))

    def instead(
        self, client: Any, error: Exception, size: Tuple[int, int], device: Union[str, torch.device] = "cpu"
    ) -> Dict[str, Tensor]:
        """The pictures that replace a failed frame; an interrupt, by a camera that moved on, is raised again."""
        from nerfstudio.viewer_legacy.server.viewer_utils import IOChangeException

        if isinstance(error, IOChangeException):  # the camera has moved on
            raise error
        self.report(client, error)
        return error_pictures(size, str(error) or type(error).__name__, self.photos is not None, device)

    def report(self, client: Any, error: Exception) -> None:
        """A message in the browser and the traceback in the log, once for all frames in a row with the same error."""
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        text = f"{type(error).__name__}: {error}"
        if text == self.last_error:
            return
        self.last_error = text
        what = "viewer: expected a frame, got an error; the viewer goes on"
        CONSOLE.print(f"{what}\n{traceback.format_exc()}", markup=False)
        client.client.add_notification("This frame could not be rendered", text[:400], auto_close=20000)


class Through:
    """An object of Nerfstudio or viser with some attributes replaced."""

    def __init__(self, inner: Any, **own: Any):
        self.__dict__.update(own, _inner=inner)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def bounded(aspect: float) -> float:
    """A usable aspect of a browser's window, whose height or width may be zero for a moment."""
    return min(max(aspect, 1 / MOST_ASPECT), MOST_ASPECT) if aspect == aspect else 1.0


def shrink(camera: Cameras) -> None:
    """Reduces in place the resolution of a camera whose pictures no memory holds."""
    longest = int(torch.stack([camera.height, camera.width]).max())
    if longest > MOST_SIDE:
        camera.rescale_output_resolution(MOST_SIDE / longest, scale_rounding_mode="floor")


def bounded_state(state: Any) -> Any:
    """Changes a camera of the viewer in place so that its numbers make a picture."""
    state.aspect = bounded(float(state.aspect))
    state.fov = min(max(float(state.fov), 0.02), math.pi - 0.02) if state.fov == state.fov else 1.0
    if not bool(torch.isfinite(state.c2w).all()):
        state.c2w = torch.eye(4).to(state.c2w)[: state.c2w.shape[0]]
    return state


def met_depth(
    depth: Float[Tensor, "height width 1"], accumulation: Float[Tensor, "height width 1"]
) -> Float[Tensor, "height width 1"]:
    """Depth of what is met; elsewhere the farthest of it, instead of the far end of the box with its steps."""
    met = accumulation > SOLID
    return torch.where(met, depth, depth[met].max()) if bool(met.any()) else depth


def middle(picture: Float[Tensor, "rows columns 3"], width: int) -> Float[Tensor, "rows width 3"]:
    width = min(width, picture.shape[1])
    return picture.narrow(1, (picture.shape[1] - width) // 2, width)


def fitted(photo: Float[Tensor, "rows columns 3"], height: int, width: int) -> Float[Tensor, "height width 3"]:
    """A photo, as large as it fits, in the middle of a white picture."""
    scale = min(height / photo.shape[0], width / photo.shape[1])
    rows, columns = (max(1, round(side * scale)) for side in photo.shape[:2])
    picture = photo.new_ones(height, width, 3)
    top, left = (height - rows) // 2, (width - columns) // 2
    picture[top : top + rows, left : left + columns] = resized(photo, rows, columns)
    return picture


def error_pictures(
    size: Tuple[int, int], text: str, with_photos: bool, device: Union[str, torch.device]
) -> Dict[str, Tensor]:
    """The outputs of a camera as pictures of this size that say what went wrong."""
    from PIL import Image, ImageDraw

    height, width = size
    image = Image.new("L", (width, height), 30)
    letters = max(8, (width - 16) // 6)
    lines = ["This frame could not be rendered:", *(text[i : i + letters] for i in range(0, len(text), letters))]
    ImageDraw.Draw(image).multiline_text((8, height // 3), "\n".join(lines), fill=230)
    grey = torch.tensor(np.asarray(image), dtype=torch.float32, device=device)[..., None] / 255
    names = ("rgb", "latent", *(PHOTO_OUTPUTS if with_photos else ()))
    return {**{name: grey.expand(-1, -1, 3) for name in names}, "depth": grey, "accumulation": grey}
