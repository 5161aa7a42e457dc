"""Steps, saves, resumes and pictures on the pretended device; started by test_pretended_gpu.py in a process of its own.

python run.py FOLDER    with the variables of `device.environment`; prints one line of JSON for each case
"""

import contextlib
import json
import shutil
import sys
import time
import traceback
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Callable, Dict

import torch

sys.path.extend(str(Path(__file__).parents[1] / name) for name in (".", "engine", "../scripts"))

from naive_splats import naive_rasterization
from pretended.device import counted, pretended_cuda, state
from test_trainer import trainer_of
from tiny import (
    SHARED,
    SMALL_ENCODER,
    TINTS,
    joint_config_of,
    latent_model_of,
    pipeline_config_of,
    save_kl,
    small_nerf,
    write_ball,
)


def built(config: Any) -> Any:
    """A prepared pipeline on the pretended device."""
    torch.manual_seed(0)
    pipeline = config.setup(device="cuda", test_mode="val")
    pipeline.train()
    pipeline.prepare()
    return pipeline


def step_of(pipeline: Any, step: int) -> Dict[str, Any]:
    """Waits of a step that is like one that was done before: losses, gradients, the finite check."""
    for turn in range(2):
        with counted() as waits:
            _, losses, _ = pipeline.get_train_loss_dict(step + turn)
            sum(losses.values()).backward()
        pipeline.zero_grad()
    return {"waits": sum(waits.values()), "places": dict(waits), "kernels": state.kernels}


def cases(folder: Path) -> Dict[str, Callable[[], Dict[str, Any]]]:
    scenes, kl = folder / "balls", save_kl(folder / "kl")
    for name, tint in zip("abc", TINTS, strict=True):
        write_ball(scenes / name, tint)
    nerf = small_nerf(**SHARED)

    def latent(**settings: Any) -> Any:
        return pipeline_config_of(scenes, kl, nerf=nerf, **settings)

    def joint(**settings: Any) -> Any:
        return joint_config_of(scenes, kl, nerf=nerf, **settings)

    def saved_and_resumed() -> Dict[str, Any]:
        config = latent(rgb_alignment_start=1)
        first, second = built(config), config.setup(device="cuda", test_mode="val")
        with first.as_saved(1.0):
            state = {name: value.cpu() for name, value in first.state_dict().items()}
        second.load_pipeline(state, 3)
        second.train()
        return step_of(second, 4)

    def evaluated() -> Dict[str, Any]:
        from latent_nerfstudio.pipelines.contact_sheet import write_contact_sheet

        pipeline = built(latent())
        write_contact_sheet(pipeline, folder / "sheet.png")
        return {"psnr": pipeline.get_average_eval_image_metrics()["psnr"]}

    def run_and_resumed() -> Dict[str, Any]:
        """A whole run with its contact sheet, bundle and checkpoint, and one that goes on from it."""
        settings = {"pipeline": {"rgb_alignment_start": 2, "crop": 16, "nerf": nerf}, "write_bundle": True}
        first = trainer_of(scenes, kl, folder / "run", steps=4, device="cuda", **settings)
        first.train()
        done = sorted(path.name for path in first.base_dir.iterdir())
        settings["load_dir"] = first.checkpoint_dir
        second = trainer_of(scenes, kl, folder / "on", steps=6, device="cuda", **settings)
        second.train()
        return {"first": done, "step": second.last_step}

    def fitted() -> Dict[str, Any]:
        """`lns fit-scenes` with a tiny bundle, in this process."""
        from fleet.inventories import inventory_of, write_bundle

        from latent_nerfstudio.fleet.inventory import fit_inventory

        inventory = inventory_of(scenes, folder / "fitted", write_bundle(folder / "bundle", kl), rgb_alignment_start=2)
        inventory = replace(inventory, device="cuda")
        *_, table = fit_inventory(inventory, ["a", "b"])
        return {"states": [row.reason or row.state for row in table.rows.values()]}

    def predicted() -> Dict[str, Any]:
        """Steps of a scene encoder's training, and a run that starts from what it predicts."""
        from latent_nerfstudio.engine import scene_encoder
        from latent_nerfstudio.models.bundle_writing import write_shared_bundle
        from latent_nerfstudio.scene_encoder.network import SceneEncoderConfig

        torch.manual_seed(0)
        write_shared_bundle(folder / "plain", latent_model_of(kl, ["a"], nerf=nerf), 1, {})
        training = scene_encoder.EncoderTraining(steps=2, scenes_per_step=2, rays_per_scene=24)
        sizes = SceneEncoderConfig(**SMALL_ENCODER)
        learned = scene_encoder.learn_scene_encoder(scenes, str(folder / "plain"), folder / "known", training, sizes, 1)
        pipeline = built(latent(shared_bundle=learned))
        assert pipeline.predicted is not None
        return step_of(pipeline, 0)

    def checked() -> Dict[str, Any]:
        """The sections of `make gpu-check` that compare, at toy size."""
        import gpu_check

        gpu_check.STAGES = {"latent supervision": ("triplane", {"rgb_alignment_start": None})}
        gpu_check.profile = lambda trainer, steps: (0.0, [])  # CUPTI cannot be pretended
        shutil.copytree(scenes / "a", folder / "check" / "car")
        toy = gpu_check.GpuCheck(methods=("triplane",), steps=4, points=64, sizes=(16,))
        work = gpu_check.Work(toy, folder / "check", deadline=time.monotonic() + 3600)
        rows = [row for name in ("methods", "steps", "frames") for row in gpu_check.section(name, work)]
        return {"failed": [f"{row.check}: {row.measured}" for row in rows if not row.ok], "rows": len(rows)}

    def other(nerf: Any, **settings: Any) -> Dict[str, Any]:
        """Both stages and a picture of one of the other methods; gaussians without gsplat's kernels."""
        pipeline = built(pipeline_config_of(scenes / "a", kl, nerf=nerf, rgb_alignment_start=2, crop=16))
        if hasattr(pipeline.model.nerf, "step_cb"):
            groups = pipeline.model.nerf.get_param_groups().items()
            optimizers = {name: torch.optim.Adam(group) for name, group in groups}
            pipeline.model.nerf.step_cb(SimpleNamespace(optimizers=optimizers), 0)
        step_of(pipeline, 0)
        result = step_of(pipeline, 2)
        pipeline.eval().model.get_outputs_for_camera(pipeline.datamanager.eval_dataset.cameras[:1].to("cuda"))
        return result

    from latent_nerfstudio.fields import triplane_field
    from latent_nerfstudio.models import splatfacto

    splatfacto.rasterization = naive_rasterization
    triplane_field.find_spec = lambda name: None  # Triton would ask a driver
    return {
        "latent supervision": lambda: step_of(built(latent()), 0),
        "latent supervision, RGB": lambda: step_of(built(pipeline_config_of(scenes)), 0),
        "RGB alignment, crops": lambda: step_of(built(latent(rgb_alignment_start=0, crop=16)), 1),
        "RGB alignment, whole pictures": lambda: step_of(built(latent(rgb_alignment_start=0)), 0),
        "mixed supervision": lambda: step_of(built(latent(mixed_supervision=0.5)), 0),
        "warm-up": lambda: step_of(built(joint()), 0),
        "joint training": lambda: step_of(
            built(joint(joint_training_start=1, crop=16, real_images=scenes / "a" / "images", real_images_per_batch=2)),
            1,
        ),
        "saved and resumed": saved_and_resumed,
        "evaluated": evaluated,
        "run and resumed": run_and_resumed,
        "fit-scenes": fitted,
        "predicted": predicted,
        "gpu-check": checked,
        **{name: partial(other, nerf) for name, nerf in other_nerfs().items()},
    }


def other_nerfs() -> Dict[str, Any]:
    """The NeRFs of the other methods, by the name of the method, at toy size."""
    from small_nerfs import SMALL, small_kplanes, small_ngp

    from latent_nerfstudio.models.splatfacto import LatentSplatfactoModelConfig

    builders = {**SMALL, "kplanes": small_kplanes, "instant-ngp": small_ngp}
    nerfs = {f"latent-{name}": build() for name, build in builders.items()}
    nerfs["latent-vanilla-nerf"] = nerfs.pop("latent-vanilla")
    return {**nerfs, "latent-splatfacto": LatentSplatfactoModelConfig(num_random=40, use_absgrad=False)}


def main(folder: Path) -> None:
    with contextlib.redirect_stdout(sys.stderr), pretended_cuda():
        for name, case in cases(folder).items():
            try:
                result = case()
            except Exception as error:
                result = {"error": f"{type(error).__name__}: {error}", "traceback": traceback.format_exc()}
            print(json.dumps({"case": name, **result}), file=sys.__stdout__, flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
