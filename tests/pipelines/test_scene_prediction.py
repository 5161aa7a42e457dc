"""Predicted scenes: where a run starts, and what pulls it back."""

import json
import shutil

import pytest
import torch
from tiny import TINTS, pipeline_of, write_ball, write_bundle_with_encoder

from latent_nerfstudio.fields.planes import compose_planes
from latent_nerfstudio.models.predicting import predict
from latent_nerfstudio.pipelines import scene_start
from latent_nerfstudio.pipelines.scene_start import PredictedScenes
from latent_nerfstudio.scene_encoder.network import Prediction
from latent_nerfstudio.scene_encoder.projection import spread_views


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Two scenes, and a bundle with a scene encoder of random weights."""
    folder = tmp_path_factory.mktemp("balls")
    for index in range(2):
        write_ball(folder / "scenes" / f"ball_{index}", TINTS[index], 5 + index, 16, 16, "RGBA", index)
    write_bundle_with_encoder(folder)
    return folder


def prepared(place, bundle="run", fresh=True):
    pipeline = pipeline_of(place / "scenes", shared_bundle=place / bundle)
    if not fresh:
        pipeline.is_fresh = False
        pipeline.model.nerf.field.micro_planes.data.fill_(3.0)
    pipeline.prepare()
    return pipeline


def test_a_run_starts_as_its_encoder_predicts_and_the_pull_is_zero_there(place):
    pipeline = prepared(place)
    field = pipeline.model.nerf.field
    views = scene_start.SceneViews(pipeline.model, pipeline.datamanager)
    for scene, members in enumerate(views.members):
        micro, weights = predict(pipeline.model, views.groups(members), views.boxes[scene : scene + 1])
        torch.testing.assert_close(field.micro_planes[scene], micro[0], atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(field.scene_weights[scene], weights[0], atol=1e-5, rtol=1e-4)
    _, losses, _ = pipeline.get_train_loss_dict(0)
    assert float(losses["prediction_pull"]) == pytest.approx(0, abs=1e-9)


def test_a_scene_of_other_cameras_leaves_the_others_predicted(place, tmp_path):
    """It starts with fitted scene weights, and nothing pulls it."""
    shutil.copytree(place / "scenes/ball_1", tmp_path / "scenes/ball_1")
    write_ball(tmp_path / "scenes/ball_0", TINTS[0], 5, 16, 16, "RGBA", camera_model="OPENCV_FISHEYE")
    shutil.copytree(place / "run", tmp_path / "run")
    pipeline, usual = prepared(tmp_path), prepared(place)
    own, others = (p.model.nerf.field for p in (pipeline, usual))
    for name in ("micro_planes", "scene_weights"):
        torch.testing.assert_close(getattr(own, name)[1], getattr(others, name)[1], atol=1e-5, rtol=1e-4)
    assert not bool(own.micro_planes[0].any()) and pipeline.start_seconds > 0
    assert pipeline.predicted.weights.tolist() == [0, float(usual.predicted.weights[1])]


def test_a_bundle_without_an_encoder_starts_as_before_and_a_resumed_run_keeps_its_scenes(place):
    pipeline = prepared(place, "plain")
    assert pipeline.predicted is None and "prediction_pull" not in pipeline.get_train_loss_dict(0)[1]
    assert not bool(pipeline.model.nerf.field.micro_planes.any())
    pipeline = prepared(place, fresh=False)
    assert bool((pipeline.model.nerf.field.micro_planes == 3).all())
    assert float(pipeline.get_train_loss_dict(0)[1]["prediction_pull"].detach()) > 0


def test_the_pull_by_hand():
    prediction = Prediction(torch.zeros(2, 3, 1, 2, 2), torch.tensor([[0.0], [2.0]]))
    base = torch.ones(1, 3, 1, 2, 2)
    predicted = PredictedScenes(prediction, torch.tensor([1, 2]), strength=0.8)
    planes = compose_planes(torch.ones(1, 3, 1, 2, 2), base, torch.tensor([[5.0]])).requires_grad_()
    loss = predicted.pull(planes, torch.tensor([1]), base)  # differences 1 and 3, weight 0.8 / 2^3
    assert float(loss) == pytest.approx(0.1 * (1 + 9) / 2)
    loss.backward()
    assert bool((planes.grad > 0).all())


def test_of_many_photos_those_far_apart_are_taken(place, monkeypatch):
    monkeypatch.setattr(scene_start, "spread_views", lambda positions: spread_views(positions, 2))
    seen = []
    original = scene_start.SceneViews.groups
    monkeypatch.setattr(scene_start.SceneViews, "groups", lambda self, v: seen.append(v.tolist()) or original(self, v))
    cameras = prepared(place).datamanager.latent_cameras.camera_to_worlds[..., 3]
    expected = [spread_views(cameras[:4], 2).tolist(), (4 + spread_views(cameras[4:], 2)).tolist()]
    assert seen == expected  # of 4 and 5 training views


@pytest.mark.parametrize(
    ("facts", "is_said"), [({"enlarge": 2}, True), ({"enlarge": 1}, False), ({"enlarge": "2"}, False), ([], False)]
)
def test_photos_that_are_enlarged_otherwise_than_the_encoder_knows_are_told_of(place, tmp_path, capsys, facts, is_said):
    for name in ("run", "scenes"):
        shutil.copytree(place / name, tmp_path / name)
    path = tmp_path / "run/shared_bundle/bundle.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "facts": {"scene_encoder": facts}}))
    prepared(tmp_path)
    assert ("--pipeline.model.autoencoder.enlarge 2" in " ".join(capsys.readouterr().out.split())) == is_said
