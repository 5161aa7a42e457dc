"""Rows on runs, flags, the Hub, and the machine."""

from around import closed, full_disk, no_cuda, no_ffmpeg, unreadable
from breaking import Case, Group, both, cut, entries, flip, put, remove, rename, saved, write

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
            Case(
                "no run",
                "lns report FOLDER/none",
                "FOLDER/none: expected the config.yml of a run, got nothing there; check the path",
            ),
            Case(
                "a config.yml that is no YAML",
                RUN,
                "FOLDER/run/config.yml: expected a config of Nerfstudio, got ...; name a config.yml",
                "run",
                put("run/config.yml", b"a: ["),
            ),
            Case(
                "a config.yml of something else",
                RUN,
                "FOLDER/run/config.yml: expected a run of one of this package's methods, got one of "
                "'dict'; name a run of latent-triplane or triplane, for instance",
                "run",
                write("run/config.yml", "a: 1\n"),
            ),
            Case(
                "a config.yml of a class that is not there",
                RUN,
                "FOLDER/run/config.yml: expected a config of Nerfstudio, got ...; name a config.yml",
                "run",
                write("run/config.yml", "!!python/object:nowhere.Config {}\n"),
            ),
            Case(
                "a config.yml that is no UTF-8",
                RUN,
                "FOLDER/run/config.yml: expected a config of Nerfstudio, got ...; name a config.yml",
                "run",
                put("run/config.yml", b"\xff\xfe"),
            ),
            Case(
                "no checkpoint",
                RUN,
                "FOLDER/run/nerfstudio_models: expected a checkpoint step-XXXXXXXXX.ckpt, got none; "
                "train until one is saved",
                "run",
                remove(CHECKPOINT),
            ),
            Case(
                "a checkpoint that ends early",
                RUN,
                "FOLDER/run/nerfstudio_models/step-000000000.ckpt: expected a whole checkpoint, got ...; "
                "name an older one (--load-step), or remove it",
                "run",
                cut(CHECKPOINT),
            ),
            Case(
                "a changed byte",
                RUN,
                "FOLDER/run/nerfstudio_models/step-000000000.ckpt: expected a whole checkpoint, got "
                "step-000000000/data/43 is not what was written; name an older one (--load-step), or "
                "remove it",
                "run",
                flip(CHECKPOINT, 0.5),
            ),
            Case(
                "an empty checkpoint",
                RUN,
                "FOLDER/run/nerfstudio_models/step-000000000.ckpt: expected a whole checkpoint, got ...; "
                "name an older one (--load-step), or remove it",
                "run",
                put(CHECKPOINT, b""),
            ),
            Case(
                "a checkpoint with code in it",
                RUN,
                "FOLDER/run/nerfstudio_models/step-000000000.ckpt: expected a checkpoint of Nerfstudio, "
                "of tensors alone, got ...; name one that ns-train wrote",
                "run",
                saved(CHECKPOINT, Harmful),
            ),
            Case(
                "a checkpoint of a list",
                RUN,
                "FOLDER/run/nerfstudio_models/step-000000000.ckpt: expected a checkpoint of Nerfstudio, "
                "of tensors alone, got no step and weights; name one that ns-train wrote",
                "run",
                saved(CHECKPOINT, lambda: [1]),
            ),
            Case(
                "a checkpoint without weights",
                RUN,
                "FOLDER/run/nerfstudio_models/step-000000000.ckpt: expected a checkpoint of Nerfstudio, "
                "of tensors alone, got no step and weights; name one that ns-train wrote",
                "run",
                state(pipeline=...),
            ),
            Case(
                "a checkpoint without a step",
                RUN,
                "FOLDER/run/nerfstudio_models/step-000000000.ckpt: expected a checkpoint of Nerfstudio, "
                "of tensors alone, got no step and weights; name one that ns-train wrote",
                "run",
                state(step=...),
            ),
            Case(
                "weights that lack a layer",
                RUN,
                "FOLDER/run/nerfstudio_models/step-000000000.ckpt: expected the weights of 2 scenes of "
                "this model, got others ('...'); restore the data and the autoencoder that it was "
                "trained on",
                "run",
                weights(lambda w: w.pop(planes)),
            ),
            Case(
                "weights of another number of scenes",
                RUN,
                "FOLDER/run/nerfstudio_models/step-000000000.ckpt: expected the weights of 2 scenes of "
                "this model, got others ('...'); restore the data and the autoencoder that it was "
                "trained on",
                "run",
                weights(lambda w: w.update({planes: w[planes][:1]})),
            ),
            Case(
                "other weights than were sealed",
                RUN,
                "FOLDER/run/nerfstudio_models/step-000000000.ckpt: expected the weights that were saved, "
                "got others, of a damaged file; remove this checkpoint, so that the one before it is "
                "taken, or go on from an older one",
                "run",
                state(pipeline={"seal": 7}),
            ),
            Case(
                "training.json that is no JSON",
                RUN,
                "FOLDER/run/training.json: expected JSON, got '...'; remove it, or restore the one that training wrote",
                "run",
                cut("run/training.json"),
            ),
            Case(
                "a name of the checkpoint that is no step",
                f"{RESUME} --load-step 7",
                "FOLDER/run/nerfstudio_models/step-000000007.ckpt: expected a checkpoint, got nothing "
                "there; name one that is",
                "scene run",
                rename(CHECKPOINT, "run/nerfstudio_models/step-last.ckpt"),
            ),
            Case(
                "training.json that is a list",
                RUN,
                "FOLDER/run/training.json: expected a JSON object with names as its scenes, got another; "
                "remove it, or restore the one that training wrote",
                "run",
                write("run/training.json", "[]"),
            ),
            Case(
                "training.json without names",
                RUN,
                "FOLDER/run/training.json: expected a JSON object with names as its scenes, got another; "
                "remove it, or restore the one that training wrote",
                "run",
                entries("run/training.json", scenes=3),
            ),
            Case(
                "an unknown scene",
                "lns orbit FOLDER/run --scenes c --output FOLDER/out.gif",
                "scenes: expected scenes of FOLDER/run, such as a, b, got 'c'; correct the name",
                "run",
            ),
            Case(
                "an unknown scene to export",
                "lns export-scenes FOLDER/run --scenes c",
                "scenes: expected scenes of FOLDER/run/config.yml, such as a, b, got 'c'; correct the name",
                "run",
            ),
            Case(
                "resuming from nothing",
                RESUME,
                "FOLDER/run/nerfstudio_models: expected a checkpoint step-XXXXXXXXX.ckpt, got none; "
                "leave out --load-dir to begin anew",
                "scene run",
                remove(CHECKPOINT),
            ),
            Case(
                "resuming from a damaged checkpoint",
                RESUME,
                "FOLDER/run/nerfstudio_models: expected a checkpoint that is whole, got "
                "step-000000000.ckpt: ...; leave out --load-dir to begin anew",
                "scene run",
                cut(CHECKPOINT),
            ),
            Case(
                "resuming from a step that is not there",
                f"{RESUME} --load-step 7",
                "FOLDER/run/nerfstudio_models/step-000000007.ckpt: expected a checkpoint, got nothing "
                "there; name one that is",
                "scene run",
            ),
            Case(
                "training.json with words for numbers",
                "lns report FOLDER/run --eval FOLDER/eval.json",
                "FOLDER/run/training.json, seconds: expected a number, got 'few'; remove it, or restore the one that "
                "training wrote",
                "run",
                entries("run/training.json", seconds="few"),
            ),
            Case(
                "metrics.jsonl with half a line",
                "lns report FOLDER/run --eval FOLDER/eval.json",
                "FOLDER/run/metrics.jsonl: expected lines of JSON that training wrote, got ...; remove the file",
                "run",
                both(write("run/metrics.jsonl", '{"step"'), write("eval.json", '{"results": {"psnr": 20}}')),
            ),
            Case(
                "an evaluation that is not there",
                "lns report FOLDER/run --eval FOLDER/eval.json",
                "FOLDER/eval.json: expected what ns-eval wrote, got nothing there; check the path",
                "run",
            ),
            Case(
                "an evaluation that is no JSON",
                "lns report FOLDER/run --eval FOLDER/eval.json",
                "FOLDER/eval.json: expected JSON of ns-eval with 'results', got ...; run ns-eval again",
                "run",
                write("eval.json", "{"),
            ),
            Case(
                "an evaluation without results",
                "lns report FOLDER/run --eval FOLDER/eval.json",
                "FOLDER/eval.json: expected JSON of ns-eval with 'results', got ...; run ns-eval again",
                "run",
                write("eval.json", "{}"),
            ),
            Case(
                "an evaluation with words for numbers",
                "lns report FOLDER/run --eval FOLDER/eval.json",
                "FOLDER/eval.json: expected JSON of ns-eval with 'results', got ...; run ns-eval again",
                "run",
                write("eval.json", '{"results": {"psnr": "good"}}'),
            ),
            Case(
                "settings.json of other settings",
                f"{FIT} --steps 7",
                "FOLDER/out/settings.json: expected steps 5, format None, bundle None, rays_per_scene "
                "None, eval_interval None, precision None, seed None, plateau_every None, "
                "plateau_tolerance None, got steps 7, format fit-scenes-v1, bundle ..., rays_per_scene 256, "
                "eval_interval 10, precision float16, seed 0, plateau_every 0, plateau_tolerance 0.1; "
                "its scenes were fitted so: give the same, or another --output",
                "scenes bundle",
                write("out/settings.json", '{"steps": 5}'),
            ),
            Case(
                "settings.json that is no JSON",
                FIT,
                "FOLDER/out/settings.json: expected JSON that lns fit-scenes wrote, got '...'; remove it "
                "to begin anew, or give another --output",
                "scenes bundle",
                write("out/settings.json", "{"),
            ),
            Case(
                "status.json that is no JSON",
                "lns report FOLDER/out",
                "FOLDER/out/status.json: expected what lns fit-scenes wrote, got ...; call it again",
                breaks=write("out/status.json", "{"),
            ),
            Case(
                "status.json that is a list",
                "lns report FOLDER/out",
                "FOLDER/out/status.json: expected what lns fit-scenes wrote, got ...; call it again",
                breaks=write("out/status.json", "[]"),
            ),
        ],
    )


def flags() -> Group:
    return Group(
        "Flags",
        "Numbers out of their range and files that are there already are refused before work begins.",
        [
            Case(
                "demo-scenes without scenes",
                "lns demo-scenes --output FOLDER/out --num-scenes 0",
                "num_scenes: expected at least 1, got 0; try 4",
            ),
            Case(
                "demo-scenes of one view",
                "lns demo-scenes --output FOLDER/out --views 1",
                "views: expected at least 2 (one to train on, one to test on), got 1; try 60",
            ),
            Case(
                "demo-scenes of four pixels",
                "lns demo-scenes --output FOLDER/out --size 4",
                "size: expected at least 8 pixels, got 4; try 128",
            ),
            Case(
                "demo-scenes from a seed below zero",
                "lns demo-scenes --output FOLDER/out --seed -1",
                "seed: expected an integer >= 0, got -1; try 0",
            ),
            Case(
                "demo-scenes with no process",
                "lns demo-scenes --output FOLDER/out --workers 0",
                "workers: expected at least 1, got 0; leave it out for one a core",
            ),
            Case(
                "demo-scenes over scenes",
                "lns demo-scenes --output FOLDER/out",
                "FOLDER/out/car_0000: expected no scene of this name, got one; pass --overwrite or "
                "choose another folder",
                breaks=write("out/car_0000/x", ""),
            ),
            Case(
                "orbit without views",
                f"{ORBIT} --views 0",
                "views: expected at least 1, got 0; raise --views",
                "files bundle",
            ),
            Case(
                "orbit with 0 frames a second",
                f"{ORBIT} --fps 0",
                "fps: expected at least 1, got 0; raise --fps",
                "files bundle",
            ),
            Case(
                "orbit of 10^6 pixels",
                f"{ORBIT} --size 1000000",
                "size: expected 1 to 4096 pixels, got 1000000; try 128",
                "files bundle",
            ),
            Case(
                "orbit into a .avi",
                ORBIT.replace(".gif", ".avi"),
                "output: expected .mp4 or .gif, got FOLDER/out.avi; change its ending",
                "files bundle",
            ),
            Case(
                "orbit of an unknown scene",
                f"{ORBIT} --scenes c",
                "scenes: expected scenes of FOLDER/files, such as a, b, got 'c'; correct the name",
                "files bundle",
            ),
            Case(
                "blend of an unknown scene",
                "lns blend FOLDER/files a c --bundle FOLDER/bundle --output FOLDER/out.gif",
                "scenes: expected scenes of FOLDER/files, such as a, b, got 'c'; correct the name",
                "files bundle",
            ),
            Case(
                "render-latents into a .pt",
                "lns render-latents FOLDER/files --output FOLDER/out.pt",
                "output: expected a .safetensors file, got FOLDER/out.pt; change its ending",
                "files",
            ),
            Case(
                "render-latents over a file",
                "lns render-latents FOLDER/files --output FOLDER/out.safetensors",
                "FOLDER/out.safetensors: expected nothing there, got a file; pass --overwrite or name another --output",
                "files",
                put("out.safetensors", b""),
            ),
            Case(
                "training cameras of scene files",
                "lns render-latents FOLDER/files --bundle FOLDER/bundle --path training --output FOLDER/o.safetensors",
                "FOLDER/files: expected scenes with their training cameras, got none; load the run that "
                "was trained on them, or use orbit()",
                "files bundle",
            ),
            Case(
                "decode-latents over a folder",
                "lns decode-latents FOLDER/latents.safetensors --autoencoder FOLDER/vae --output FOLDER/files",
                "FOLDER/files: expected nothing there, got a file; pass --overwrite or name another --output",
                "latents.safetensors vae files",
            ),
            Case(
                "pack-scenes of nothing",
                "lns pack-scenes --output FOLDER/out",
                "source: expected at least one scene file, folder or archive, got none; name one",
            ),
            Case(
                "pack-scenes over an archive",
                "lns pack-scenes FOLDER/files --output FOLDER/files.zip",
                "FOLDER/files.zip: expected nothing there, got a file; pass --overwrite or name another --output",
                "files files.zip",
            ),
            Case(
                "import-scenes with one view",
                "lns import-scenes FOLDER/files --bundle FOLDER/bundle --output FOLDER/out --views 1",
                "views: expected 2 to 1000, of which one is held out, got 1; try 4",
                "files bundle",
            ),
            Case(
                "fit-scenes without steps",
                f"{FIT} --steps 0",
                "steps: expected at least 1, got 0; raise --steps",
                "scenes bundle",
            ),
            Case(
                "fit-scenes with RGB alignment after the end",
                f"{FIT} --steps 5 --rgb-alignment-start 5",
                "rgb_alignment_start: expected less than the 5 steps, got 5; leave it out for none",
                "scenes bundle",
            ),
            Case(
                "fit-scenes with no process",
                f"{FIT} --workers 0",
                "workers: expected at least 1, got 0; raise --workers",
                "scenes bundle",
            ),
            Case(
                "fit-scenes of an unknown scene",
                f"{FIT} --scenes c",
                "scenes: expected names of scenes in FOLDER/scenes, such as a, b, got 'c'; correct the name",
                "scenes bundle",
            ),
            Case(
                "fit-scenes with a bundle that is not there",
                FIT,
                "shared bundle: expected bundled, a run with a folder shared_bundle, its config.yml, "
                "that folder or a Hub id, got 'FOLDER/bundle', where there is none; check the path, or "
                "name a run of ig-ae",
                "scenes",
            ),
            Case(
                "consistency of nothing",
                "lns consistency FOLDER/none",
                "FOLDER/none: expected a data folder, got nothing there; check SOURCE",
            ),
            Case(
                "consistency without steps",
                "lns consistency FOLDER/scene --steps 0",
                "steps: expected at least 1, got 0; leave it out for the default",
                "scene",
            ),
            Case(
                "report of two runs with one evaluation",
                "lns report FOLDER/run FOLDER/run --eval FOLDER/eval.json",
                "eval: expected one for each of 2 runs, got 1; name them in the order of the runs, or none",
                "run",
            ),
            Case(
                "report into a .txt",
                "lns report FOLDER/run --output FOLDER/report.txt",
                "output: expected a .md file, got FOLDER/report.txt; change its ending",
                "run",
            ),
            Case(
                "contact-sheet into a .jpg",
                "lns contact-sheet FOLDER/run/config.yml --output FOLDER/x.jpg",
                "output: expected a .png file, got FOLDER/x.jpg; change its ending",
                "run",
            ),
            Case(
                "contact-sheet of no scene",
                "lns contact-sheet FOLDER/run/config.yml --max-scenes 0",
                "max_scenes: expected at least 1, got 0; try 8",
                "run",
            ),
            Case("an unknown command", "lns fly", "lns: expected a command, got 'fly'; see lns --help"),
            Case(
                "a flag that is not there",
                "lns demo-scenes --output FOLDER/out --wings 2",
                "...Unrecognized...options: --wings...",
            ),
            Case(
                "words for a number",
                "lns demo-scenes --output FOLDER/out --num-scenes many",
                "...--num-scenes...invalid literal for int...",
            ),
            Case(
                "RGB alignment from a step below zero",
                f"{TRAIN} --pipeline.rgb-alignment-start -1",
                "rgb_alignment_start: expected a step of at least 0, got -1; give the first step of RGB "
                "alignment, or None",
                "scene",
            ),
            Case(
                "mixed supervision of 1",
                f"{LATENT} --pipeline.mixed-supervision 1.0",
                "mixed_supervision: expected t between 0 and 1, got 1.0; 1 would be latent supervision, "
                "0 RGB alignment",
                "scene vae",
            ),
            Case(
                "nothing to train on renders",
                f"{LATENT} --pipeline.align-scenes False --pipeline.train-decoder False",
                "align_scenes: expected True with train_decoder False, mixed_supervision or "
                "alignment_latent_weight, which train scenes on renders or nothing at all, got False; "
                "leave these out",
                "scene vae",
            ),
            Case(
                "planes of no texels",
                f"{TRAIN} --pipeline.model.nerf.field.resolution 0",
                "tri-plane field: expected micro_features > 0, or macro_features > 0 and num_base_planes "
                "> 0, and a resolution of at least 2, got micro_features=16, macro_features=0, "
                "num_base_planes=0, resolution=0; set --pipeline.model.nerf.field.micro-features or the "
                "other two",
                "scene",
            ),
            Case(
                "planes of no features",
                f"{TRAIN} --pipeline.model.nerf.field.micro-features 0",
                "tri-plane field: expected micro_features > 0, or macro_features > 0 and num_base_planes "
                "> 0, and a resolution of at least 2, got micro_features=0, macro_features=0, "
                "num_base_planes=0, resolution=64; set --pipeline.model.nerf.field.micro-features or the "
                "other two",
                "scene",
            ),
            Case(
                "no rays",
                f"{TRAIN} --pipeline.datamanager.rays-per-batch 0",
                "rays_per_batch: expected at least 1, got 0; leave it out for the default",
                "scene",
            ),
            Case(
                "no samples",
                f"{TRAIN} --pipeline.model.nerf.num-samples 0",
                "num_samples and num_importance_samples: expected at least 1 and 0, got 0 and 0; raise "
                "--pipeline.model.nerf.num-samples",
                "scene",
            ),
            Case(
                "an unknown scene to show",
                f"{TRAIN} --pipeline.model.scene c",
                "scene: expected one of scene, got 'c'; choose one with --pipeline.model.scene",
                "scene",
            ),
            Case(
                "real images that are not there",
                "ns-train ig-ae --data FOLDER/scenes --pipeline.real-images FOLDER/none "
                "--pipeline.datamanager.scenes-per-batch 2 --pipeline.datamanager.images-per-batch 2",
                "real images FOLDER/none: expected .jpg, .jpeg, .png, .webp, .bmp pictures, got no such folder; "
                "name a folder of pictures with --pipeline.real-images, or leave the flag out",
                "scenes",
            ),
            Case(
                "orbit of a radius below zero",
                "lns.orbit(radius=-1.0)",
                "orbit: expected a positive radius and an elevation within 90 degrees, got -1.0 and 25.0; change them",
            ),
            Case(
                "pictures without channels",
                "lns.load_autoencoder('identity').encode(__import__('torch').zeros(8, 8))",
                "pictures: expected [n, height, width, 3], got [8, 8]; put channels last, and leave out alpha",
            ),
        ],
    )


def hub() -> Group:
    return Group(
        "The Hub",
        "Wherever a folder is taken, a Hub id is ([hub.md](hub.md)); only safetensors and JSON files are.",
        [
            Case(
                "an autoencoder without network",
                "lns.load_autoencoder('nobody/nothing')",
                "autoencoder source 'nobody/nothing': expected a folder, or a Hub id that is cached or "
                "within reach, got ...; check the path, or download it where there is a network and pass "
                "the folder",
            ),
            Case(
                "a bundle without network",
                "lns.load_bundle('nobody/nothing')",
                "bundle source 'nobody/nothing': expected a folder, or a Hub id that is cached or within "
                "reach, got ...; check the path, or download it where there is a network and pass the "
                "folder",
            ),
            Case(
                "scenes without network",
                "lns.load('nobody/nothing')",
                "scenes source 'nobody/nothing': expected a folder, or a Hub id that is cached or within "
                "reach, got ...; check the path, or download it where there is a network and pass the "
                "folder",
            ),
            Case(
                "a revision without network",
                "lns.load_bundle('nobody/nothing@v1.0')",
                "bundle source 'nobody/nothing@v1.0': expected a folder, or a Hub id that is cached or "
                "within reach, got ...; check the path, or download it where there is a network and pass "
                "the folder",
            ),
            Case(
                "pull without network",
                "lns pull nobody/nothing --output FOLDER/out",
                "bundle source 'nobody/nothing': expected a folder, or a Hub id that is cached or within "
                "reach, got ...; check the path, or download it where there is a network and pass the "
                "folder",
            ),
            Case(
                "push without network",
                "lns push FOLDER/bundle nobody/nothing",
                "nobody/nothing: expected the Hub to take it, got ...; log in with 'hf auth login', or "
                "write it with --output and upload that",
                "bundle",
            ),
            Case(
                "no Hub id",
                "lns pull nothing --output FOLDER/out",
                "repository: expected OWNER/NAME, got 'nothing'; correct the name",
            ),
            Case(
                "an id that leads out",
                "lns pull ../../etc --output FOLDER/out",
                "repository: expected OWNER/NAME, got '../../etc'; correct the name",
            ),
            Case(
                "an id with a scheme",
                "lns pull https://example.org/x --output FOLDER/out",
                "repository: expected OWNER/NAME, got 'https://example.org/x'; correct the name",
            ),
            Case(
                "push to a revision",
                "lns push FOLDER/bundle nobody/nothing@main",
                "repository: expected OWNER/NAME, got 'nobody/nothing@main'; correct the name",
                "bundle",
            ),
            Case(
                "push of nothing",
                "lns push FOLDER/none nobody/nothing --output FOLDER/out",
                "FOLDER/none: expected a folder with a shared bundle, scene files or an autoencoder, got "
                "none of them; check the path, or name a --kind",
            ),
            Case(
                "push of a damaged bundle",
                "lns push FOLDER/bundle nobody/nothing --kind bundle --output FOLDER/out",
                "shared bundle FOLDER/bundle/shared_bundle: expected contents with the hash ..., as "
                "bundle.json says, got ...; files were changed or damaged: copy the bundle again, or "
                "have its run write it again",
                "bundle",
                flip("bundle/shared_bundle/shared.safetensors", 0.99),
            ),
            Case(
                "push of a damaged scene",
                "lns push FOLDER/files nobody/nothing --kind scenes --output FOLDER/out",
                "FOLDER/files/a.safetensors: expected contents with the SHA-256 '...', got others; copy the file again",
                "files",
                flip("files/a.safetensors", 0.9),
            ),
            Case(
                "push of an archive",
                "lns push FOLDER/files.zip nobody/nothing --kind scenes --output FOLDER/out",
                "FOLDER/files.zip: expected a folder of scene files, got a file; unpack archives with "
                "lns pack-scenes ARCHIVE --output FOLDER",
                "files.zip",
            ),
            Case(
                "pull over a folder",
                "lns pull nobody/nothing --output FOLDER/scene",
                "FOLDER/scene: expected nothing there, got something; pass --overwrite",
                "scene",
            ),
        ],
    )


def machine() -> Group:
    return Group(
        "The machine",
        "No network is in the table above. What is being written is complete or not there.",
        [
            Case(
                "no ffmpeg",
                ORBIT.replace(".gif", ".mp4"),
                "ffmpeg: expected a program, as imageio-ffmpeg brings, got FOLDER/ffmpeg; install ffmpeg "
                "with the system's packages, point IMAGEIO_FFMPEG_EXE to one, or write a .gif",
                "files bundle",
                around=no_ffmpeg,
            ),
            Case(
                "a full disk",
                "lns pack-scenes FOLDER/files --output FOLDER/out.zip",
                "[Errno ...] FOLDER/out.zip: expected room to write it, got 'File too large'; nothing "
                "was left there, make room",
                "files",
                around=full_disk,
            ),
            Case(
                "a full disk, for a video",
                f"{ORBIT} --views 1 --size 8",
                "[Errno ...] FOLDER/out.gif: expected room to write it, got '...'; nothing was left there, make room",
                "files bundle",
                around=full_disk,
            ),
            Case(
                "a folder that is a file",
                "lns pack-scenes FOLDER/files --output FOLDER/path.json/out.zip",
                "[Errno ...] FOLDER/path.json: expected a folder that can be written to, got 'File "
                "exists'; name another, or free it",
                "files path.json",
            ),
            Case(
                "a video in a folder that is a file",
                ORBIT.replace("out.gif", "path.json/o.gif"),
                "FOLDER/path.json/o.gif: expected a path that can be written, got 'File exists'; name another --output",
                "files bundle path.json",
            ),
            Case(
                "no permission to write",
                "lns pack-scenes FOLDER/files --output FOLDER/closed/out.zip",
                "[Errno ...] FOLDER/closed: expected a folder that can be written to, got '...'; "
                "name another, or free it",
                "files",
                around=closed,
            ),
            Case(
                "no permission to read",
                TRAIN,
                "FOLDER/scene/images/0000.png: expected a readable image, got ...; "
                "export the image again, or leave it out",
                "scene",
                around=unreadable,
            ),
            Case(
                "no CUDA",
                f"{TRAIN} --machine.device-type cuda",
                "machine.device_type: expected cpu on a machine without CUDA, got cuda; pass "
                "--machine.device-type cpu, or install a driver and a torch that fit the GPU",
                "scene",
                around=no_cuda,
            ),
            Case(
                "no CUDA, in Python",
                "lns.load('FOLDER/files', bundle='FOLDER/bundle', device='cuda')",
                "device: expected cpu, or cuda where there is a GPU, got 'cuda'; leave it out for the "
                "GPU, if there is one",
                "files bundle",
                around=no_cuda,
            ),
            Case(
                "a device that nobody knows",
                "lns.load('FOLDER/files', bundle='FOLDER/bundle', device='abacus')",
                "device: expected cpu, or cuda where there is a GPU, got 'abacus'; leave it out for the "
                "GPU, if there is one",
                "files bundle",
            ),
        ],
    )


GROUPS = [runs(), flags(), hub(), machine()]
