"""Rows on runs, flags, the Hub, and the machine."""

import json

from around import closed, full_disk, no_cuda, no_ffmpeg, unreadable
from breaking import Case, Group, both, cut, edit, entries, flip, put, remove, rename, saved, write

RUN = "lns.load('FOLDER/run')"
CHECKPOINT = "run/nerfstudio_models/step-000000000.ckpt"
TRAIN = "ns-train triplane --data FOLDER/scene"
LATENT = "ns-train latent-triplane --data FOLDER/scene --pipeline.model.autoencoder.source FOLDER/vae"
RESUME = f"{TRAIN} --load-dir FOLDER/run/nerfstudio_models"
FIT = "lns fit-scenes --data FOLDER/scenes --output FOLDER/out --bundle FOLDER/bundle"
ORBIT = "lns orbit FOLDER/files --bundle FOLDER/bundle --output FOLDER/out.gif"


class Harmful:
    """Would run code when it is read."""

    def __reduce__(self):
        return (print, ("harm",))


def state(**changes):
    """Changes what the checkpoint of the run holds."""

    def change(folder):
        import torch

        content = torch.load(folder / CHECKPOINT, weights_only=True)
        content = {key: value for key, value in {**content, **changes}.items() if value is not ...}
        torch.save(content, folder / CHECKPOINT)

    return change


def weights(change):
    """Changes the weights in the checkpoint of the run, without their seal."""

    def change_file(folder):
        import torch

        content = torch.load(folder / CHECKPOINT, weights_only=True)
        content["pipeline"].pop("seal", None)
        change(content["pipeline"])
        torch.save(content, folder / CHECKPOINT)

    return change_file


def runs() -> Group:
    planes = "_model.nerf.field.micro_planes"
    return Group(
        "Runs and checkpoints",
        "`config.yml` is Nerfstudio's, and is trusted: opening one can run code. Checkpoints hold tensors alone.",
        [
            Case("no run", "lns report FOLDER/none", ""),
            Case("a config.yml that is no YAML", RUN, "", "run", put("run/config.yml", b"a: [")),
            Case("a config.yml of something else", RUN, "", "run", write("run/config.yml", "a: 1\n")),
            Case("a config.yml of a class that is not there", RUN, "", "run", write("run/config.yml", "!!python/object:nowhere.Config {}\n")),
            Case("a config.yml that is no UTF-8", RUN, "", "run", put("run/config.yml", b"\xff\xfe")),
            Case("no checkpoint", RUN, "", "run", remove(CHECKPOINT)),
            Case("a checkpoint that ends early", RUN, "", "run", cut(CHECKPOINT)),
            Case("a changed byte", RUN, "", "run", flip(CHECKPOINT, 0.5)),
            Case("an empty checkpoint", RUN, "", "run", put(CHECKPOINT, b"")),
            Case("a checkpoint with code in it", RUN, "", "run", saved(CHECKPOINT, Harmful)),
            Case("a checkpoint of a list", RUN, "", "run", saved(CHECKPOINT, lambda: [1])),
            Case("a checkpoint without weights", RUN, "", "run", state(pipeline=...)),
            Case("a checkpoint without a step", RUN, "", "run", state(step=...)),
            Case("weights that lack a layer", RUN, "", "run", weights(lambda w: w.pop(planes))),
            Case("weights of another number of scenes", RUN, "", "run", weights(lambda w: w.update({planes: w[planes][:1]}))),
            Case("other weights than were sealed", RUN, "", "run", state(pipeline={"seal": 7})),
            Case("training.json that is no JSON", RUN, "", "run", cut("run/training.json")),
            Case("a name of the checkpoint that is no step", f"{RESUME} --load-step 7", "", "scene run", rename(CHECKPOINT, "run/nerfstudio_models/step-last.ckpt")),
            Case("training.json that is a list", RUN, "", "run", write("run/training.json", "[]")),
            Case("training.json without names", RUN, "", "run", entries("run/training.json", scenes=3)),
            Case("an unknown scene", "lns orbit FOLDER/run --scenes c --output FOLDER/out.gif", "", "run"),
            Case("an unknown scene to export", "lns export-scenes FOLDER/run --scenes c", "", "run"),
            Case("resuming from nothing", RESUME, "", "scene run", remove(CHECKPOINT)),
            Case("resuming from a damaged checkpoint", RESUME, "", "scene run", cut(CHECKPOINT)),
            Case("resuming from a step that is not there", f"{RESUME} --load-step 7", "", "scene run"),
            Case("an evaluation that is not there", "lns report FOLDER/run --eval FOLDER/eval.json", "", "run"),
            Case("an evaluation that is no JSON", "lns report FOLDER/run --eval FOLDER/eval.json", "", "run", write("eval.json", "{")),
            Case("an evaluation without results", "lns report FOLDER/run --eval FOLDER/eval.json", "", "run", write("eval.json", "{}")),
            Case("an evaluation with words for numbers", "lns report FOLDER/run --eval FOLDER/eval.json", "", "run", write("eval.json", '{"results": {"psnr": "good"}}')),
            Case("settings.json of other settings", f"{FIT} --steps 7", "", "scenes bundle", write("out/settings.json", '{"steps": 5}')),
            Case("settings.json that is no JSON", FIT, "", "scenes bundle", write("out/settings.json", "{")),
            Case("status.json that is no JSON", "lns report FOLDER/out", "", breaks=write("out/status.json", "{")),
            Case("status.json that is a list", "lns report FOLDER/out", "", breaks=write("out/status.json", "[]")),
        ],
    )


def flags() -> Group:
    return Group(
        "Flags",
        "Numbers out of their range and files that are there already are refused before work begins.",
        [
            Case("demo-scenes without scenes", "lns demo-scenes FOLDER/out --num-scenes 0", ""),
            Case("demo-scenes of one view", "lns demo-scenes FOLDER/out --views 1", ""),
            Case("demo-scenes of four pixels", "lns demo-scenes FOLDER/out --resolution 4", ""),
            Case("demo-scenes from a seed below zero", "lns demo-scenes FOLDER/out --seed -1", ""),
            Case("demo-scenes with no process", "lns demo-scenes FOLDER/out --num-workers 0", ""),
            Case("demo-scenes over scenes", "lns demo-scenes FOLDER/out", "", breaks=write("out/car_0000/x", "")),
            Case("orbit without views", f"{ORBIT} --views 0", "", "files bundle"),
            Case("orbit with 0 frames a second", f"{ORBIT} --fps 0", "", "files bundle"),
            Case("orbit of 10^6 pixels", f"{ORBIT} --size 1000000", "", "files bundle"),
            Case("orbit into a .avi", ORBIT.replace(".gif", ".avi"), "", "files bundle"),
            Case("orbit of an unknown scene", f"{ORBIT} --scenes c", "", "files bundle"),
            Case("blend of an unknown scene", "lns blend FOLDER/files a c --bundle FOLDER/bundle --output FOLDER/out.gif", "", "files bundle"),
            Case("render-latents into a .pt", "lns render-latents FOLDER/files --output FOLDER/out.pt", "", "files"),
            Case("render-latents over a file", "lns render-latents FOLDER/files --output FOLDER/out.safetensors", "", "files", put("out.safetensors", b"")),
            Case("training cameras of scene files", "lns render-latents FOLDER/files --bundle FOLDER/bundle --path training --output FOLDER/o.safetensors", "", "files bundle"),
            Case("decode-latents over a folder", "lns decode-latents FOLDER/latents.safetensors --autoencoder FOLDER/vae --output FOLDER/files", "", "latents.safetensors vae files"),
            Case("pack-scenes of nothing", "lns pack-scenes --output FOLDER/out", ""),
            Case("pack-scenes over an archive", "lns pack-scenes FOLDER/files --output FOLDER/files.zip", "", "files files.zip"),
            Case("import-scenes with one view", "lns import-scenes FOLDER/files --bundle FOLDER/bundle --output FOLDER/out --views 1", "", "files bundle"),
            Case("fit-scenes without steps", f"{FIT} --steps 0", "", "scenes bundle"),
            Case("fit-scenes with RGB alignment after the end", f"{FIT} --steps 5 --rgb-alignment-start 5", "", "scenes bundle"),
            Case("fit-scenes with no process", f"{FIT} --workers 0", "", "scenes bundle"),
            Case("fit-scenes of an unknown scene", f"{FIT} --scenes c", "", "scenes bundle"),
            Case("fit-scenes with a bundle that is not there", FIT, "", "scenes"),
            Case("consistency of nothing", "lns consistency --data FOLDER/none", ""),
            Case("consistency without steps", "lns consistency --data FOLDER/scene --steps 0", "", "scene"),
            Case("report of two runs with one evaluation", "lns report FOLDER/run FOLDER/run --eval FOLDER/eval.json", "", "run"),
            Case("report into a .txt", "lns report FOLDER/run --output FOLDER/report.txt", "", "run"),
            Case("contact-sheet into a .jpg", "lns contact-sheet --load-config FOLDER/run/config.yml --output FOLDER/x.jpg", "", "run"),
            Case("contact-sheet of no scene", "lns contact-sheet --load-config FOLDER/run/config.yml --max-scenes 0", "", "run"),
            Case("an unknown command", "lns fly", ""),
            Case("a flag that is not there", "lns demo-scenes FOLDER/out --wings 2", ""),
            Case("words for a number", "lns demo-scenes FOLDER/out --num-scenes many", ""),
            Case("RGB alignment from a step below zero", f"{TRAIN} --pipeline.rgb-alignment-start -1", "", "scene"),
            Case("mixed supervision of 1", f"{LATENT} --pipeline.mixed-supervision 1.0", "", "scene vae"),
            Case("nothing to train on renders", f"{LATENT} --pipeline.align-scenes False --pipeline.train-decoder False", "", "scene vae"),
            Case("planes of no texels", f"{TRAIN} --pipeline.model.nerf.field.resolution 0", "", "scene"),
            Case("planes of no features", f"{TRAIN} --pipeline.model.nerf.field.micro-features 0", "", "scene"),
            Case("no rays", f"{TRAIN} --pipeline.datamanager.rays-per-batch 0", "", "scene"),
            Case("no samples", f"{TRAIN} --pipeline.model.nerf.num-samples 0", "", "scene"),
            Case("an unknown scene to show", f"{TRAIN} --pipeline.model.scene c", "", "scene"),
            Case("real images that are not there", "ns-train ig-ae --data FOLDER/scenes --pipeline.real-images FOLDER/none --pipeline.datamanager.scenes-per-batch 2", "", "scenes"),
            Case("orbit of a radius below zero", "lns.orbit(radius=-1.0)", ""),
            Case("pictures without channels", "lns.load_autoencoder('identity').encode(__import__('torch').zeros(8, 8))", ""),
        ],
    )


def hub() -> Group:
    return Group(
        "The Hub",
        "Wherever a folder is taken, a Hub id is ([hub.md](hub.md)); only safetensors and JSON files are.",
        [
            Case("an autoencoder without network", "lns.load_autoencoder('nobody/nothing')", ""),
            Case("a bundle without network", "lns.load_bundle('nobody/nothing')", ""),
            Case("scenes without network", "lns.load('nobody/nothing')", ""),
            Case("a revision without network", "lns.load_bundle('nobody/nothing@v1.0')", ""),
            Case("pull without network", "lns pull nobody/nothing FOLDER/out", ""),
            Case("push without network", "lns push FOLDER/bundle nobody/nothing", "", "bundle"),
            Case("no Hub id", "lns pull nothing FOLDER/out", ""),
            Case("an id that leads out", "lns pull ../../etc FOLDER/out", ""),
            Case("an id with a scheme", "lns pull https://example.org/x FOLDER/out", ""),
            Case("push to a revision", "lns push FOLDER/bundle nobody/nothing@main", "", "bundle"),
            Case("push of nothing", "lns push FOLDER/none nobody/nothing --folder FOLDER/out", ""),
            Case("push of a damaged bundle", "lns push FOLDER/bundle nobody/nothing --kind bundle --folder FOLDER/out", "", "bundle", flip("bundle/shared_bundle/shared.safetensors", 0.99)),
            Case("push of a damaged scene", "lns push FOLDER/files nobody/nothing --kind scenes --folder FOLDER/out", "", "files", flip("files/a.safetensors", 0.9)),
            Case("push of an archive", "lns push FOLDER/files.zip nobody/nothing --kind scenes --folder FOLDER/out", "", "files.zip"),
            Case("pull over a folder", "lns pull nobody/nothing FOLDER/scene", "", "scene"),
        ],
    )


def machine() -> Group:
    return Group(
        "The machine",
        "No network is in the table above. What is being written is complete or not there.",
        [
            Case("no ffmpeg", ORBIT.replace(".gif", ".mp4"), "", "files bundle", around=no_ffmpeg),
            Case("a full disk", "lns pack-scenes FOLDER/files --output FOLDER/out.zip", "", "files", around=full_disk),
            Case("a full disk, for a video", f"{ORBIT} --views 1 --size 8", "", "files bundle", around=full_disk),
            Case("a folder that is a file", "lns pack-scenes FOLDER/files --output FOLDER/path.json/out.zip", "", "files path.json"),
            Case("a video in a folder that is a file", ORBIT.replace("out.gif", "path.json/o.gif"), "", "files bundle path.json"),
            Case("no permission to write", "lns pack-scenes FOLDER/files --output FOLDER/closed/out.zip", "", "files", around=closed),
            Case("no permission to read", TRAIN, "", "scene", around=unreadable),
            Case("no CUDA", f"{TRAIN} --machine.device-type cuda", "", "scene", around=no_cuda),
            Case("no CUDA, in Python", "lns.load('FOLDER/files', bundle='FOLDER/bundle', device='cuda')", "", "files bundle", around=no_cuda),
            Case("a device that nobody knows", "lns.load('FOLDER/files', bundle='FOLDER/bundle', device='abacus')", "", "files bundle"),
            Case("splats without CUDA", "ns-train latent-splatfacto --data FOLDER/scene", "", "scene", around=no_cuda),
        ],
    )


GROUPS = [runs(), flags(), hub(), machine()]
