"""Steps and frames leave nothing behind: as many tensors afterwards as before."""

import torch
from nerfstudio.engine.callbacks import TrainingCallback, TrainingCallbackLocation
from small_runs import run_config
from tiny import SHARED, camera_of, latent_model_of, living_tensors, pipeline_config_of, small_nerf

from latent_nerfstudio.fields.scene_view import SceneView


def test_steps_leave_no_tensors_behind(balls, kl, tmp_path):
    """In both stages; checkpoints, pictures and evaluations among them."""
    pipeline = pipeline_config_of(balls, kl, rgb_alignment_start=6, nerf=small_nerf(**SHARED))
    often = dict.fromkeys(("steps_per_save", "steps_per_eval_image", "steps_per_pictures"), 2)
    trainer, counts = run_config(pipeline, tmp_path, 12, contact_sheet=False, **often).setup(), {}
    trainer.setup()

    def count(step):
        if step in (3, 5, 9, 11):
            counts[step] = living_tensors()

    trainer.callbacks.append(TrainingCallback([TrainingCallbackLocation.AFTER_TRAIN_ITERATION], count))
    trainer.train()
    assert counts[3] == counts[5] and counts[9] == counts[11]


@torch.no_grad()
def test_frames_leave_no_tensors_behind(kl):
    """Of ever new views, whose planes are kept for the next frame."""
    model = latent_model_of(kl, ("a", "b", "c"), nerf=small_nerf(**SHARED))
    counts = []
    for frame in range(12):
        view = SceneView(frame % 3, (frame + 1) % 3, frame / 12)
        model.get_outputs_for_camera(camera_of(16, 16), view=view)
        if frame in (5, 11):
            counts.append(living_tensors())
    assert counts[0] == counts[1]
