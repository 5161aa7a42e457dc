"""Boxes that leave out what photos show."""

import numpy as np
import pytest
import torch
from tiny import datamanager_of, pipeline_of, write_ball

from latent_nerfstudio.data.box_checks import share_left_out, warn_of_boxes
from latent_nerfstudio.data.crops import sees_object
from latent_nerfstudio.fields.boxes import intersect_box
from latent_nerfstudio.latent_space.autoencoder import AutoencoderConfig
from latent_nerfstudio.latent_space.latent_space import LatentSpace

WHITE = torch.ones(3)


def left_out(folder, box):
    """What a datamanager of RGB finds doubtful of scenes with a box, by name."""
    manager, space = datamanager_of(folder), LatentSpace(AutoencoderConfig(source="identity"), "mean-std")
    manager.prepare(space, lambda rays: intersect_box(rays.origins, rays.directions, torch.tensor(box))[2])
    return manager.doubts


@pytest.mark.parametrize("factor", [1, 4])
def test_the_shown_object_against_a_loop(factor):
    image = torch.rand(10, 7, 3, generator=torch.Generator().manual_seed(0))
    image[torch.rand(10, 7, generator=torch.Generator().manual_seed(1)) < 0.5] = 1.0
    shown = sees_object(image[None], WHITE, factor, 0.5)[0]
    for row, column in np.ndindex(*shown.shape):
        part = image[row * factor :, column * factor :][:factor, :factor].reshape(-1, 3)
        assert bool(shown[row, column]) == (np.mean([bool((pixel < 0.99).any()) for pixel in part]) >= 0.5)


def test_the_share_of_an_object_by_hand_and_the_worst_box_by_its_name(capsys):
    shown, meets = torch.zeros(4, 5, dtype=torch.bool), torch.ones(4, 5, dtype=torch.bool)
    shown[1:3, 1:5], meets[:, 4] = True, False
    assert share_left_out([(shown, meets)]) == 2 / 8
    assert share_left_out([(shown, meets), (shown, ~meets)]) == 8 / 16
    assert share_left_out([(torch.ones_like(shown), meets)]) == 0, "a picture without a plain background"
    assert share_left_out([(torch.zeros_like(shown), meets)]) == 0, "nothing but background"
    wrong = warn_of_boxes({"good": 0.02, "bad": 0.2, "worst": 0.6})
    assert set(wrong) == {"bad", "worst"} and "60%" in wrong["worst"]
    said = " ".join(capsys.readouterr().out.split())
    assert "2 of 3 scenes" in said and "'worst'" in said and "[[x, y, z], [x, y, z]]" in said
    assert warn_of_boxes({"good": 0.02}) == {} and not capsys.readouterr().out


def test_boxes_that_hold_the_object_are_not_doubted_and_others_are(balls):
    """The balls are of radius 0.6; a slab of a third of their height holds less than half of what is seen."""
    assert left_out(balls, [[-0.6] * 3, [0.6] * 3]) == {}
    assert set(left_out(balls, [[-0.7, -0.7, -0.1], [0.7, 0.7, 0.1]])) == {"a", "b", "c"}
    assert set(left_out(balls, [[0.0, -0.7, -0.7], [1.4, 0.7, 0.7]])) == {"a", "b", "c"}


@pytest.mark.parametrize("alone", [True, False])
def test_a_box_that_no_camera_sees_is_refused_before_training(tmp_path, alone):
    write_ball(tmp_path / "lost", aabb=[[50.0] * 3, [51.0] * 3])
    if not alone:
        write_ball(tmp_path / "seen", seed=1)
    with pytest.raises(ValueError, match=r"box of scene 'lost': .*aabb"):
        pipeline_of(tmp_path).prepare()
