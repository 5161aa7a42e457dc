"""NaN put into a latent, a term of the loss, or a parameter: who stops, what is said, what is kept."""

import math

import pytest
import torch
from tiny import SHARED, datamanager_of, latent_model_of, pipeline_of, small_nerf, spoil_latents

from latent_nerfstudio.data import latent_datamanager
from latent_nerfstudio.pipelines.scene_watch import check_finite


@pytest.mark.parametrize("number", [torch.nan, torch.inf])
def test_a_latent_that_is_no_number_names_its_picture(balls, kl, number, monkeypatch):
    space = latent_model_of(kl).latent_space
    manager = datamanager_of(balls)
    original = latent_datamanager.scene_latents

    def spoiled(*arguments):
        for members, latents in original(*arguments):
            if 7 in members:
                latents[members.index(7)][1, 2, 0] = number
            yield members, latents

    monkeypatch.setattr(latent_datamanager, "scene_latents", spoiled)
    name = manager.train_dataset.image_filenames[7]
    with pytest.raises(ValueError, match=f"^latent of {name}: expected finite numbers, got NaN or infinity; look at"):
        manager.prepare(space)


def test_latents_whose_sum_is_large_pass(balls):
    manager = datamanager_of(balls)
    large = [torch.full((64, 64, 4), 6e4, dtype=torch.float16)]
    assert next(manager.checked_latents(iter([([0], large)])))[1] is large


def test_where_scenes_share_the_run_stops_and_names_step_term_and_scene(balls):
    pipeline = pipeline_of(balls, nerf=small_nerf(**SHARED)).train()
    spoil_latents(pipeline, 2)
    with pytest.raises(FloatingPointError, match="^loss latent_loss at step 6: .*, got nan; .* in 1 of .*3 scenes: c$"):
        pipeline.get_train_loss_dict(6)


def test_a_regulariser_is_no_scenes_fault(balls, monkeypatch):
    pipeline = pipeline_of(balls, nerf=small_nerf(**SHARED)).train()
    losses, more = pipeline.model.get_loss_dict, {"smoothness": torch.tensor(torch.inf)}
    monkeypatch.setattr(pipeline.model, "get_loss_dict", lambda *a: {**losses(*a), **more})
    with pytest.raises(FloatingPointError, match="^loss smoothness at step 3: .*, got inf; .*; in no scene's error"):
        pipeline.get_train_loss_dict(3)


def test_a_parameter_that_spoils_the_loss_is_named(balls, kl):
    pipeline = pipeline_of(balls, kl, rgb_alignment_start=0, nerf=small_nerf(**SHARED)).train()
    decoder = pipeline.space.autoencoder.decoder_parameters()[0]
    (name,) = [name for name, p in pipeline.named_parameters() if p is decoder]
    with torch.no_grad():
        decoder[(0,) * decoder.ndim] = torch.nan
    with pytest.raises(FloatingPointError, match=f"^parameter {name} at step 2: expected finite numbers, got nan"):
        pipeline.get_train_loss_dict(2)


@pytest.mark.parametrize(("number", "shown"), [(math.nan, "nan"), (math.inf, "inf"), (-math.inf, "-inf")])
def test_what_is_not_finite_is_named_with_its_step(number, shown):
    values = {"good": torch.ones(3), "bad": torch.tensor([[1.0, number], [2.0, 3.0]])}
    message = rf"^parameter bad at step 17: expected finite numbers, got {shown}; lower the learning rates or .* kept$"
    with pytest.raises(FloatingPointError, match=message):
        check_finite(values, 17, "parameter")
    with pytest.raises(FloatingPointError, match="^loss bad at step 3: expected finite numbers"):
        check_finite({"bad": torch.tensor(number)}, 3, "loss")


def test_infinities_that_cancel_are_found():
    with pytest.raises(FloatingPointError, match="loss both at step 0: expected finite numbers, got"):
        check_finite({"both": torch.tensor([math.inf, -math.inf])}, 0, "loss")


def test_finite_numbers_whose_sum_overflows_pass():
    huge = torch.full((4,), 3e38)
    half = torch.full((8,), 6e4, dtype=torch.float16)
    assert not bool(huge.sum().isfinite()) and not bool(half.sum().isfinite())
    check_finite({"huge": huge, "half": half, "one": torch.ones(2)}, 0, "parameter")
    with pytest.raises(FloatingPointError, match="parameter last at step 0"):
        check_finite({"huge": huge, "last": torch.tensor([1.0, math.nan])}, 0, "parameter")


def test_what_has_nothing_to_check():
    check_finite({}, 0, "loss")
    check_finite({"count": torch.tensor([1, 2]), "mask": torch.tensor(True)}, 0, "parameter")
    check_finite({"empty": torch.zeros(0), "count": torch.tensor(1), "double": torch.ones(1).double()}, 0, "parameter")
