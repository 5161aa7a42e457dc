"""Training of the scene encoder: what a step is given, that it learns, measures and goes on."""

import json
import math
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch
from PIL import Image
from tiny import SHARED, SMALL_ENCODER, TINTS, latent_model_of, small_nerf, write_ball

from latent_nerfstudio.data.latent_datamanager import LatentDataManager
from latent_nerfstudio.engine import scene_encoder
from latent_nerfstudio.engine.scene_encoder import learn_scene_encoder, pipeline_of
from latent_nerfstudio.files.replacing import sole_writer
from latent_nerfstudio.latent_space.latent_space import LatentSpace
from latent_nerfstudio.models.bundle_encoder import read_scene_encoder
from latent_nerfstudio.models.bundle_writing import write_shared_bundle
from latent_nerfstudio.models.shared_bundle import read_shared_bundle
from latent_nerfstudio.pipelines.scene_encoder_training import (
    EncoderTraining,
    Task,
    draw_task,
    rate_at,
    rendered,
    shown_of_channels,
    turned,
)
from latent_nerfstudio.pipelines.scene_views import SceneViews
from latent_nerfstudio.scene_encoder.network import Prediction, SceneEncoderConfig
from latent_nerfstudio.scene_encoder.projection import project

SIZES = SceneEncoderConfig(**{**SMALL_ENCODER, "grid": 6})
TRAINING = EncoderTraining(steps=4, scenes_per_step=2, rays_per_scene=24)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Scenes of balls of different colours, two of other sizes, and an untrained bundle in RGB."""
    folder = tmp_path_factory.mktemp("balls")
    for index in range(5):
        size = 20 if index == 3 else 16
        write_ball(folder / "scenes" / f"ball_{index}", TINTS[index % 3], 6, size, size, "RGBA", index)
    torch.manual_seed(0)
    model = latent_model_of("identity", ["a", "b"], nerf=small_nerf(**SHARED))
    model.nerf.aabb.copy_(torch.tensor([[-0.7] * 3, [0.7] * 3]))
    write_shared_bundle(folder, model, 1, {})
    return folder


def learn(place, output, data=None, training=TRAINING, sizes=SIZES, held_out=1, **more):
    """Folder of a run that teaches the bundle of a place an encoder."""
    scenes, own = data or place / "scenes", {"latent_cache": "memory", **more}
    return learn_scene_encoder(scenes, str(place), output, training, sizes, held_out, **own)


@pytest.fixture(scope="module")
def prepared(place):
    pipeline = pipeline_of(place / "scenes", read_shared_bundle(str(place)), "memory")
    pipeline.datamanager.prepare(pipeline.space)
    return pipeline, SceneViews(pipeline.model, pipeline.datamanager)


def test_a_step_is_a_function_of_seed_and_step_and_never_shows_what_it_gives(prepared):
    _, views = prepared
    for step in range(8):
        task, again = (draw_task(views, torch.arange(4), TRAINING, step) for _ in range(2))
        assert torch.equal(task.target, again.target) and torch.equal(task.photos.latents, again.photos.latents)
        assert set(task.slots.tolist()) == set(range(len(task.photos.latents)))
        for slot, poses in enumerate(task.photos.poses):
            origins = task.rays.origins[task.slots == slot]
            assert float(torch.cdist(origins, poses[:, :, 3]).min()) > 1e-3  # no ray of a photo that is given


def test_rays_of_views_project_back_onto_their_pixels_and_are_rendered_as_by_the_model(prepared):
    pipeline, views = prepared
    pixels = views.table.starts[3] + torch.tensor([0, 17, 100])
    rays, _, latents = views.target([pixels])
    points = rays.origins + 1.7 * rays.directions
    places, _ = project(points[None], views.poses[None, 3:4], views.intrinsics[None, 3:4])
    row, col = (pixels - views.table.starts[3]) // 16, (pixels - views.table.starts[3]) % 16
    torch.testing.assert_close(places[0, 0], torch.stack([col, row], dim=1) + 0.5, atol=1e-3, rtol=0)
    photo = views.photos(torch.tensor([[3]])).latents[0, 0]
    torch.testing.assert_close(photo[:, row, col].T, latents)
    model, field = pipeline.model.eval(), pipeline.model.nerf.field
    rays, slots, _ = views.target([views.table.starts[own[:1]] + torch.arange(30) for own in views.members[:2]])
    rays.metadata["scene_index"] = slots[:, None]
    prediction = Prediction(field.micro_planes[:2], field.scene_weights[:2])
    torch.testing.assert_close(rendered(model, prediction, rays, slots), model(rays)["latent"])


def test_a_turned_scene_is_seen_by_turned_photos_at_the_same_pixels(prepared):
    """Points along a ray keep their place in a photo; a box is turned as well, and is back after four quarters."""
    _, views = prepared
    middle = views.box.mean(dim=0)
    boxes = torch.tensor([[[-0.3, -0.2, -0.1], [0.6, 0.5, 0.4]]]).repeat(2, 1, 1)
    rays, slots, target = views.target([views.table.starts[own[:1]] + torch.arange(9) for own in views.members[:2]])
    task = Task(views.photos(torch.stack([own[1:3] for own in views.members[:2]])), rays, slots, target, boxes)
    once = turned(task, torch.tensor([1, 2]), views.box)

    def parts(task):
        return task.rays.origins, task.rays.directions, task.photos.poses, task.boxes

    def places(task):
        points = (task.rays.origins + 1.3 * task.rays.directions).view(2, 9, 3)
        return project(points, task.photos.poses, task.photos.intrinsics)[0]

    torch.testing.assert_close(places(once), places(task), atol=1e-3, rtol=0)
    assert not torch.allclose(once.rays.origins, rays.origins, atol=0.1)
    torch.testing.assert_close(middle, torch.zeros(3))
    expected = torch.tensor([[[-0.5, -0.3, -0.1], [0.2, 0.6, 0.4]], [[-0.6, -0.5, -0.1], [0.3, 0.2, 0.4]]])
    torch.testing.assert_close(once.boxes, expected)
    back = turned(once, torch.tensor([3, 2]), views.box)
    for ours, theirs in zip(parts(back), parts(task), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)
    oblong = views.box * torch.tensor([1.0, 2.0, 1.0])  # of quarters, halves remain
    torch.testing.assert_close(turned(task, torch.tensor([1, 3]), oblong).boxes[0], boxes[0])
    torch.testing.assert_close(turned(task, torch.tensor([1, 3]), oblong).boxes[1], expected[1])


def test_rays_end_at_the_scenes_own_box_or_at_all_of_it(prepared, monkeypatch):
    _, views = prepared
    assert torch.allclose(views.boxes, views.box)  # these scenes have no other
    monkeypatch.setattr(views, "boxes", views.box.repeat(5, 1, 1) * torch.tensor([0.5, 0.6, 0.7]))
    seen = set()
    for step in range(12):
        task = draw_task(views, torch.arange(4), TRAINING, step)
        hits = task.rays.fars > task.rays.nears
        points = (task.rays.origins + task.rays.fars * task.rays.directions)[hits[:, 0]]
        boxes = task.boxes[task.slots][hits[:, 0]]
        assert bool(((points > boxes[:, 0] - 1e-4) & (points < boxes[:, 1] + 1e-4)).all())
        seen |= {bool(torch.allclose(box, views.box)) for box in task.boxes}
    assert seen == {True, False}


def test_it_learns_measures_and_goes_on_bit_by_bit(place, tmp_path, monkeypatch):
    monkeypatch.setattr(scene_encoder, "KEPT_EVERY", 2)
    whole = read_shared_bundle(str(learn(place, tmp_path / "whole")))
    assert read_shared_bundle(str(learn(place, tmp_path / "whole"))).facts == whole.facts  # a call more changes nothing
    steps = scene_encoder.training_steps

    def interrupted(*args):
        for step, loss in steps(*args):
            if step == 3:
                raise KeyboardInterrupt
            yield step, loss

    monkeypatch.setattr(scene_encoder, "training_steps", interrupted)
    with pytest.raises(KeyboardInterrupt):
        learn(place, tmp_path / "parts")
    monkeypatch.setattr(scene_encoder, "training_steps", steps)
    parts = read_shared_bundle(str(learn(place, tmp_path / "parts")))
    (tmp_path / "parts" / scene_encoder.LOG).unlink()  # as where a crash, or the power, took its last line
    assert read_shared_bundle(str(learn(place, tmp_path / "parts"))).facts == parts.facts
    assert parts.hash == whole.hash != read_shared_bundle(str(place)).hash
    assert bool(read_scene_encoder(whole).out[0].weight.any()) and whole.facts["scene_encoder"]["enlarge"] == 1
    lines = [json.loads(line) for line in (tmp_path / "whole" / scene_encoder.LOG).read_text().splitlines()]
    assert [line["step"] for line in lines] == [2, 4] and set(lines[0]["held_out"]) == {"1", "2", "4", "8"}
    with pytest.raises(ValueError, match="expected steps 4, .*got steps 7, .*; give the same"):
        learn(place, tmp_path / "parts", training=EncoderTraining(steps=7))
    with pytest.raises(ValueError, match="expected at least 6 scenes, of which 4 are held out, got 5"):
        learn(place, tmp_path / "few", held_out=4)
    once = EncoderTraining(steps=1, scenes_per_step=2)
    assert learn(place, tmp_path / "none held", training=once, held_out=0).is_dir()
    frozen, began = EncoderTraining(known_rate=0.0), str(tmp_path / "whole")
    with pytest.raises(ValueError, match="start_from .* expected an encoder that lacks something to learn, got a w"):
        learn(place, tmp_path / "new", training=frozen, start_from=began)
    with pytest.raises(ValueError, match="expected start_from None, got start_from .*; give the same"):
        learn(place, tmp_path / "parts", start_from=began)
    with pytest.raises(ValueError, match="start_from .* expected a bundle with a scene encoder, got none"):
        learn(place, tmp_path / "from", start_from=str(place))


def test_what_it_begins_as_may_stay_while_it_learns_what_is_new(place, tmp_path):
    """With a rate of zero an encoder without looks is left as it is, and corrections are learned for it."""
    few = replace(TRAINING, steps=2)
    runs = [learn(place, tmp_path / "first", training=few, sizes=replace(SIZES, looks=0))]
    frozen = replace(few, known_rate=0.0)
    runs.append(learn(place, tmp_path / "second", training=frozen, start_from=str(tmp_path / "first")))
    first, second = (read_scene_encoder(read_shared_bundle(str(run))) for run in runs)
    assert first is not None and second is not None
    known = first.state_dict()
    assert all(torch.equal(value, known[name]) for name, value in second.state_dict().items() if name in known)
    assert first.correction is None and second.correction is not None
    assert bool(second.correction.out[0].weight.any())


def test_it_does_not_go_on_with_other_data_nor_beside_another_call(place, tmp_path, monkeypatch):
    data = shutil.copytree(place / "scenes", tmp_path / "scenes")
    arguments = place, tmp_path / "out", data, replace(TRAINING, steps=1)
    learn(*arguments)
    monkeypatch.setattr(LatentDataManager, "prepare", None)  # both are said before pictures are encoded
    with ThreadPoolExecutor(1) as pool, sole_writer(tmp_path / "out"):
        assert isinstance(pool.submit(learn, *arguments).exception(), BlockingIOError)
    path = data / "ball_2/images/0001.png"
    Image.new("RGBA", (16, 16)).save(path)
    with pytest.raises(ValueError, match="expected sources [0-9a-f]+, got sources [0-9a-f]+; give the same"):
        learn(*arguments)


def test_scenes_of_some_photos_of_other_sizes(place, tmp_path):
    """Steps and measures take photos of whose size a scene has two."""
    data = shutil.copytree(place / "scenes", tmp_path / "scenes")
    for folder in data.iterdir():
        resize_photo(folder, 1, 20)
        resize_photo(folder, 2, 24)
    learn(place, tmp_path / "out", data, replace(TRAINING, steps=1), held_out=2)
    lines = (tmp_path / "out" / scene_encoder.LOG).read_text().splitlines()
    assert all(math.isfinite(value) for value in json.loads(lines[-1])["held_out"].values())


@pytest.mark.parametrize(
    "change, words",
    [
        ({"views": 2}, "scene 'ball_4': expected at least two training views of one size, got one; leave it out"),
        ({"camera_model": "OPENCV_FISHEYE"}, "scene 'ball_4': expected perspective cameras .*, got FISHEYE; undistort"),
    ],
)
def test_scenes_that_nothing_can_be_measured_on_are_named_before_anything_is_encoded(
    place, tmp_path, monkeypatch, change, words
):
    data = shutil.copytree(place / "scenes", tmp_path / "scenes", ignore=shutil.ignore_patterns("ball_4"))
    write_ball(data / "ball_4", TINTS[0], **{"views": 6, "width": 16, "height": 16, **change})
    monkeypatch.setattr(LatentDataManager, "prepare", None)
    with pytest.raises(ValueError, match=words):
        learn(place, tmp_path / "out", data)


def resize_photo(folder, index, side):
    """Gives a photo of a scene another size, and a camera that fits."""
    meta = json.loads((folder / "transforms.json").read_text())
    common = {name: meta.pop(name) for name in ("w", "h", "fl_x", "fl_y", "cx", "cy") if name in meta}
    for frame in meta["frames"]:
        frame.update({name: value for name, value in common.items() if name not in frame})
    path = folder / meta["frames"][index]["file_path"]
    Image.open(path).resize((side, side)).save(path)
    meta["frames"][index].update(w=side, h=side, fl_x=side, fl_y=side, cx=side / 2, cy=side / 2)
    (folder / "transforms.json").write_text(json.dumps(meta))


def test_the_rate_rises_and_falls_to_zero():
    config = EncoderTraining(steps=1000, learning_rate=1.0)
    assert rate_at(0, config) == pytest.approx(0.01) and rate_at(500, config) == pytest.approx(0.5)
    assert rate_at(999, config) < 1e-5


def test_channels_that_the_decoder_does_not_show_count_nothing():
    class Space(LatentSpace):
        is_identity, num_channels, downscale_factor = False, 2, 2  # type: ignore[assignment]

        def __init__(self):
            torch.nn.Module.__init__(self)

        def decode(self, latents, height, width):
            return (3 * latents[..., :1]).expand(-1, -1, -1, 3)

    shown = shown_of_channels(Space(), torch.randn(2, 4, 4, 2))
    torch.testing.assert_close(shown, torch.tensor([2.0, 0.0]))
