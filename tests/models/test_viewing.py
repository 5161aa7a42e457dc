"""The panel of the viewer: what its elements mean, frames in the viewer's thread, and errors that do not end it."""

import gc
import math
from contextlib import nullcontext
from types import SimpleNamespace

import jaxtyping
import numpy as np
import pytest
import torch
from nerfstudio.configs.base_config import ViewerConfig
from nerfstudio.viewer.render_state_machine import RenderStateMachine
from nerfstudio.viewer.utils import parse_object
from nerfstudio.viewer.viewer_elements import ViewerControl, ViewerElement
from nerfstudio.viewer_legacy.server.viewer_utils import IOChangeException, SetTrace
from small_nerfs import small_vanilla
from tiny import SHARED, camera_of, latent_model_of, small_nerf

from latent_nerfstudio.fields.scene_view import SceneView
from latent_nerfstudio.models import viewing
from latent_nerfstudio.models.triplane import TriplaneModel
from latent_nerfstudio.models.viewing import bounded, bounded_state, fitted, met_depth, middle

SIZES = [(24, 20), (40, 16)]


class Photos:
    """One grey photo, twice as wide as high."""

    def __init__(self):
        self.asked = []

    def nearest(self, camera, scene):
        self.asked.append(scene)
        return torch.full((10, 20, 3), 0.25)

    def of_scene(self, scene):
        return torch.tensor([2 * scene, 2 * scene + 1])

    def start(self, scene):
        return np.array([1.0, 2, 3]), np.zeros(3), 0.5


class Machine(RenderStateMachine):
    """A render thread of the viewer that is not started: what it renders is kept instead of sent."""

    def __init__(self, model, output="rgb", split=None, state="high", max_res=512):
        panel = SimpleNamespace(output_render=output, split=bool(split), split_output_render=split, max_res=max_res)
        self.messages = []
        client = SimpleNamespace(add_notification=lambda *message, **more: self.messages.append(message))
        super().__init__(SimpleNamespace(control_panel=panel, get_model=lambda: model), 1.0, client)
        self.state = state
        model.panel.adopt(self)


def model_of(source="identity", names=("a", "b", "c"), **field):
    return latent_model_of(source, names, nerf=small_nerf(**{**SHARED, **field}))


def in_viewer(model, camera=None, **options):
    """A machine that has rendered a camera, `result`."""
    machine = Machine(model, **options)
    machine.result = machine.viewer.get_model().get_outputs_for_camera(camera_of(24, 20) if camera is None else camera)
    return machine


def test_a_view_comes_before_the_cameras_scene():
    model = model_of()
    named, bare = camera_of(24, 20, scene=1), camera_of(24, 20)
    view = SceneView(2, parts="macro")
    wanted = model.get_outputs_for_camera(bare, view=view)["rgb"]
    assert torch.equal(model.get_outputs_for_camera(named, view=view)["rgb"], wanted)
    assert int(named.metadata["scene_index"]) == 1
    whole = model.get_outputs_for_camera(camera_of(24, 20, scene=2))["rgb"]
    assert torch.equal(model.get_outputs_for_camera(named, view=SceneView(2))["rgb"], whole)


def test_views_and_scenes_in_one_batch_are_as_alone(kl):
    """Also where a chunk of rays begins with one and ends with another."""
    model, cameras = model_of(kl), camera_of(16, 16, count=5)
    model.config.nerf.eval_num_rays_per_chunk = 30
    shown = [SceneView(0, 1, 0.4), 2, SceneView(1, parts="micro"), SceneView(0, 1, 0.4), SceneView(0)]
    together = model.renderer.render_scenes(cameras, shown, with_latents=True)
    for index, view in enumerate(shown):
        view = view if isinstance(view, SceneView) else SceneView(view)
        alone = model.get_outputs_for_camera(cameras[index : index + 1], with_latents=True, view=view)
        for name, value in alone.items():
            torch.testing.assert_close(together[name][index], value, atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_kept_planes_are_those_of_the_view():
    model, camera = model_of(), camera_of(24, 20)
    views = [SceneView(0), SceneView(0, 1, 0.5), SceneView(0, 1, 0.51), SceneView(0, parts="base plane", base_plane=1)]
    views += [SceneView(0, parts="base plane"), SceneView(0, parts="macro"), SceneView(0)]
    fresh = []
    for view in views:
        model.nerf.kept_planes = None
        fresh.append(model.get_outputs_for_camera(camera, view=view)["rgb"])
    for view, expected in zip(views, fresh, strict=True):
        for _ in range(2):
            assert torch.equal(model.get_outputs_for_camera(camera, view=view)["rgb"], expected)
    assert len({float(picture.sum()) for picture in fresh}) == len(set(views))
    model.nerf.field.base_planes.mul_(2)
    assert not torch.equal(model.get_outputs_for_camera(camera, view=views[5])["rgb"], fresh[5])


def test_a_nerf_without_planes_has_whole_scenes_alone(kl):
    model = latent_model_of(kl, names=["a"], nerf=small_vanilla())
    assert [element.name for element in model.panel.elements] == ["Scene", "Look at the scene"]
    whole = model.get_outputs_for_camera(camera_of(16, 16), view=SceneView(0))["rgb"]
    assert torch.equal(whole, model.get_outputs_for_camera(camera_of(16, 16))["rgb"])
    with pytest.raises(ValueError, match="view: expected a whole scene of .*, which has no planes of scenes"):
        model.get_outputs_for_camera(camera_of(16, 16), view=SceneView(0, parts="macro"))


def test_the_elements_are_those_that_can_do_something_and_say_what_is_shown():
    models = model_of(), model_of(names=["a"]), latent_model_of(names=["a", "b"])
    assert [[element.name for element in model.panel.elements] for model in models] == [
        ["Scene", "Blend with", "Blend", "Planes", "Base plane", "Look at the scene"],
        ["Scene", "Planes", "Base plane", "Look at the scene"],
        ["Scene", "Blend with", "Blend", "Look at the scene"],
    ]
    panel = models[0].panel
    assert panel.view() == SceneView(0)
    panel.scene.value, panel.other.value = "b", "c"
    assert panel.view() == SceneView(1)
    panel.share.value, panel.parts.value, panel.base_plane.value = 0.5, "base plane", 1
    assert panel.view() == SceneView(1, 2, 0.5, "base plane", 1)


def test_nerfstudio_finds_one_element_and_one_control():
    model = model_of()
    for kind in (ViewerElement, ViewerControl):
        ((path, found),) = parse_object(model, kind, "model")
        assert path == "model/panel" and found is model.panel


def test_only_the_viewer_sees_what_its_panel_says():
    model, camera = model_of(), camera_of(24, 20)
    model.panel.photos = Photos()
    whole = model.get_outputs_for_camera(camera)
    model.panel.share.value, model.panel.parts.value = 0.5, "macro"
    assert torch.equal(model.get_outputs_for_camera(camera)["rgb"], whole["rgb"])
    assert sorted(whole) == ["accumulation", "depth", "latent", "rgb"] and model.panel.photos.asked == []
    shown = in_viewer(model, camera).result
    expected = model.get_outputs_for_camera(camera, view=SceneView(0, 1, 0.5, "macro"))
    assert all(torch.equal(shown[name], value) for name, value in expected.items() if name != "depth")


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_photos_are_drawn_only_while_they_are_looked_at(width, height):
    model, camera = model_of(), camera_of(width, height)
    model.panel.photos = photos = Photos()
    outputs = in_viewer(model, camera).result
    assert photos.asked == [] and list(outputs)[-2:] == ["photo", "render_and_photo"]
    for options in ({"output": "photo"}, {"split": "render_and_photo"}):
        outputs = in_viewer(model, camera, **options).result
        assert all(value.shape[:2] == (height, width) for value in outputs.values())
    for share in (0.4, 0.6):  # the photo is of the scene that has the larger one
        model.panel.share.value = share
        in_viewer(model, output="photo")
    assert photos.asked == [0, 0, 0, 1]
    middle_row = outputs["photo"][height // 2]
    torch.testing.assert_close(middle_row[width // 2], torch.full((3,), 0.25))
    torch.testing.assert_close(outputs["render_and_photo"][height // 2, 3 * width // 4], torch.full((3,), 0.25))


def test_where_nothing_is_met_depth_is_the_farthest_of_what_is():
    """And not the far end of the box, which has steps."""
    depth, opacity = (torch.tensor(x)[:, None, None] for x in ([1.0, 3.0, 9.0, 7.0], [0.9, 0.6, 0.0, 0.4]))
    assert met_depth(depth, opacity).flatten().tolist() == [1, 3, 3, 3]
    assert met_depth(depth, torch.zeros_like(opacity)) is depth


def test_a_photo_keeps_its_shape_and_of_a_picture_the_middle_is_shown():
    photo = torch.zeros(10, 20, 3)
    picture = fitted(photo, 30, 40)
    assert picture.shape == (30, 40, 3) and bool((picture[:5] == 1).all()) and bool((picture[5:25] == 0).all())
    assert bool((fitted(photo, 10, 40)[:, 10:30] == 0).all())
    picture = torch.arange(6.0)[None, :, None].expand(2, 6, 3)
    assert middle(picture, 2)[0, :, 0].tolist() == [2, 3] and middle(picture, 9).shape == (2, 6, 3)


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_an_error_becomes_a_picture_and_a_message(width, height, monkeypatch, capsys):
    model, camera = model_of(), camera_of(width, height)
    model.panel.photos = Photos()
    good = in_viewer(model, camera).result

    def fail(*_):
        raise RuntimeError("no planes [today]")

    def broken():
        with monkeypatch.context() as patch:
            patch.setattr(TriplaneModel, "get_outputs", fail)
            with pytest.raises(RuntimeError, match="no planes"):
                model.get_outputs_for_camera(camera)
            return in_viewer(model, camera)

    first, second = broken(), broken()
    assert first.messages == [("This frame could not be rendered", "RuntimeError: no planes [today]")]
    assert second.messages == []
    assert capsys.readouterr().out.count("RuntimeError: no planes [today]") == 1
    assert {name: value.shape for name, value in first.result.items()} == {n: v.shape for n, v in good.items()}
    assert all(float(value.std()) > 0.05 for value in first.result.values())
    after = in_viewer(model, camera)
    assert torch.equal(after.result["rgb"], good["rgb"]) and broken().messages == first.messages


@pytest.fixture
def unchecked():
    """No checks of types, which tests alone have: they take an interrupt for an error of their own. And no collection
    of garbage, whose `__del__` may swallow it. Gradients are on again after it: an interrupt between the lines of
    `torch.no_grad` itself leaves them off in its thread."""
    jaxtyping.config.update("jaxtyping_disable", True)
    gc.disable()
    yield
    gc.enable()
    torch.set_grad_enabled(True)
    jaxtyping.config.update("jaxtyping_disable", False)


def test_an_interrupt_at_any_line_leaves_the_next_frame_right(unchecked):
    model, camera = model_of(), camera_of(12, 10)
    model.panel.share.value = 0.5
    expected = in_viewer(model, camera).result["rgb"]

    def interrupted(stop):
        model.nerf.kept_planes = None
        lines = [0]

        def trace(frame, event, arg):
            lines[0] += event == "line"
            if lines[0] == stop:
                raise IOChangeException
            return trace

        machine, stopped = Machine(model), False
        try:
            with SetTrace(trace):
                machine.viewer.get_model().get_outputs_for_camera(camera)
        except IOChangeException:
            stopped = True
        assert machine.messages == []
        return stopped, lines[0]

    count, reached = interrupted(-1)[1], 0
    for stop in range(1, count, max(1, count // 30)):
        stopped, lines = interrupted(stop)
        reached += lines >= stop  # a frame may take some lines less than another
        assert stopped or lines < stop
        assert torch.equal(in_viewer(model, camera).result["rgb"], expected)
    assert reached >= 25


@pytest.mark.parametrize("aspect", [math.inf, math.nan, 0.0, 1e-9, -1.0, 3000.0, 1e9])
def test_a_window_without_height_or_width_ends_no_thread(aspect, monkeypatch):
    assert 1 / 20 <= bounded(aspect) <= 20
    state = SimpleNamespace(aspect=aspect, fov=math.nan, c2w=torch.full((3, 4), math.nan))
    bounded_state(state)
    assert 1 / 20 <= state.aspect <= 20 and 0 < state.fov < math.pi and bool(state.c2w.isfinite().all())
    sent = []
    monkeypatch.setattr(RenderStateMachine, "_send_output_to_viewer", lambda m, _: sent.append(m.client.camera.aspect))
    machine = Machine(model_of())
    machine.client.camera = SimpleNamespace(aspect=aspect)
    machine._send_output_to_viewer({})
    assert sent == [bounded(aspect)] and machine.client.camera.aspect is aspect


def test_an_error_around_a_frame_ends_no_thread(monkeypatch, capsys):
    monkeypatch.setattr(RenderStateMachine, "_render_img", lambda self, state: 1 / 0)
    monkeypatch.setattr(RenderStateMachine, "_send_output_to_viewer", lambda self, outputs: outputs["nothing"])
    machine = Machine(model_of())
    machine.client.camera = SimpleNamespace(aspect=1.0)
    outputs = machine._render_img(None)
    assert outputs["rgb"].shape[2] == 3 and float(outputs["rgb"].std()) > 0.02
    machine._send_output_to_viewer(outputs)
    assert [message[1].split(":")[0] for message in machine.messages] == ["ZeroDivisionError", "KeyError"]


def test_pictures_of_moving_cameras_are_not_too_small_and_no_frame_larger_than_memory(kl, monkeypatch):
    model = latent_model_of(kl, ["a"])
    assert model.panel.moving_height == 128 and latent_model_of().panel.moving_height == 0

    def rows(height=20, quickest=0.01, **options):
        camera = camera_of(2 * height, height)
        model.panel.quickest = quickest
        picture = in_viewer(model, camera, **options).result["rgb"]
        assert picture.shape[:2] == (int(camera.height), int(camera.width))  # as Nerfstudio makes rays of it later
        return picture.shape[0]

    assert rows(state="low_move") == 128 and rows(state="high") == 20
    assert rows(state="low_move", max_res=64) == 64 and rows(140, state="low_move") == 140
    assert rows(state="low_move", quickest=0.2) == 20
    monkeypatch.setattr(viewing, "MOST_SIDE", 64)  # whatever the browser says
    assert in_viewer(model, camera_of(400, 100), state="high").result["rgb"].shape[:2] == (16, 64)


def test_browsers_start_where_the_scene_is_seen():
    model = model_of()
    camera = SimpleNamespace(position=None, look_at=None, fov=None)

    class Client:
        def __init__(self):
            self.camera, self.client_id = camera, 7

        def atomic(self):
            return nullcontext()

    connected = []
    server = SimpleNamespace(on_client_connect=connected.append, get_clients=lambda: {0: Client()}, atomic=nullcontext)
    viewer = SimpleNamespace(viser_server=server, config=ViewerConfig(websocket_host="127.0.0.1"))
    viewer.camera_handles = {}
    handles = {index: SimpleNamespace(visible=True) for index in (0, 1, 3)}
    viewer.init_scene = lambda: viewer.camera_handles.update(handles)
    viewer.get_camera_state, viewer.render_statemachines = (lambda client: None), {}
    model.panel._setup(viewer)
    assert camera.position is None and len(connected) == 1  # no photos, no place
    model.panel.photos = Photos()
    connected[0](Client())
    assert camera.position.tolist() == [10, 20, 30] and camera.look_at.tolist() == [0, 0, 0] and camera.fov == 0.5
    viewer.init_scene()
    seen = [[handle.visible for handle in handles.values()]]
    for scene, visible in (("b", None), ("b", False), ("a", True)):  # the dropdown, and Nerfstudio's two buttons
        model.panel.scene.value = scene
        model.panel.changed(model.panel.scene) if visible is None else viewer.set_camera_visibility(visible)
        seen.append([handle.visible for handle in handles.values()])
    assert seen == [[True, True, False], [False, False, True], [False] * 3, [True, True, False]]
    camera.position = None
    model.panel.look.cb_hook(model.panel.look)
    assert camera.position.tolist() == [10, 20, 30]
