"""Rows on runs, flags, the Hub, and the machine."""

from around import full_disk, no_cuda, no_ffmpeg, without
from breaking import Case, Group, Harmful, both, cut, entries, put, remove, rename, saved, write

RUN = "lns.load('FOLDER/run')"
CHECKPOINT = "run/nerfstudio_models/step-000000000.ckpt"
TRAIN = "ns-train triplane --data FOLDER/scene"
LATENT = "ns-train latent-triplane --data FOLDER/scene --pipeline.model.autoencoder.source FOLDER/vae"
RESUME = f"{TRAIN} --load-dir FOLDER/run/nerfstudio_models"
FIT = "lns fit-scenes --data FOLDER/scenes --output FOLDER/out --bundle FOLDER/bundle"
DEMO = "lns demo-scenes --output FOLDER/out"
PHOTOS = "lns process-photos FOLDER/scene"
REPORT = "lns report FOLDER/run --eval FOLDER/eval.json"
ORBIT = "lns orbit FOLDER/files --bundle FOLDER/bundle --output FOLDER/out.gif"


def weights(change):
    """Changes the weights in the checkpoint of the run."""

    def change_file(folder):
        import torch

        content = torch.load(folder / CHECKPOINT, weights_only=True)
        change(content["pipeline"])
        torch.save(content, folder / CHECKPOINT)

    return change_file


# fmt: off
planes = '_model.nerf.field.micro_planes'
RUNS = Group(
    "Runs and checkpoints",
    "`config.yml` is Nerfstudio's; `ns-*` commands run what is in it, `lns` does not. Checkpoints hold tensors alone.",
    [
    Case("no run", "none: expected the config.yml of a", command="lns report FOLDER/none"),
    Case("a config.yml that is no YAML", "config.yml: expected a config of Nerfstudio", put("run/config.yml", b"a: [")),
    Case("a config.yml of something else", "config.yml: expected a run of one", write("run/config.yml", "a: 1\n")),
    Case("no checkpoint", "nerfstudio_models: expected a checkpoint step-XXXXXXXXX.ckpt", remove(CHECKPOINT)),
    Case("a checkpoint that ends early", "step-000000000.ckpt: expected a whole checkpoint", cut(CHECKPOINT)),
    Case("a checkpoint with code in it", "step-000000000.ckpt: expected a checkpoint of Nerfstudio",
         saved(CHECKPOINT, Harmful)),
    Case("weights that lack a layer", "step-000000000.ckpt: expected the weights of 2",
         weights(lambda w: w.pop(planes))),
    Case("other weights than were sealed", "step-000000000.ckpt: expected the weights that were",
         weights(lambda w: w.update(seal=7))),
    Case("a name of the checkpoint that is no step", "step-000000007.ckpt: expected a checkpoint",
         rename(CHECKPOINT, "run/nerfstudio_models/step-last.ckpt"), command=f"{RESUME} --load-step 7"),
    Case("an unknown scene", "scenes: expected scenes of FOLDER/run, such",
         command="lns orbit FOLDER/run --scenes c --output FOLDER/out.gif"),
    Case("an unknown scene to export", "scenes: expected scenes of FOLDER/run/config.yml, such",
         command="lns export-scenes FOLDER/run --scenes c"),
    Case("resuming from a damaged checkpoint", "nerfstudio_models: expected a checkpoint that is", cut(CHECKPOINT),
         command=RESUME),
    Case("training.json with words for numbers", "seconds: expected a number",
         entries("run/training.json", seconds="few"), command=REPORT),
    Case("metrics.jsonl with half a line", "line 1: expected JSON, got",
         both(write("run/metrics.jsonl", '{"step"'), write("eval.json", '{"results": {"psnr": 20}}')), command=REPORT),
    Case("an evaluation that is not there", "eval.json: expected a file", command=REPORT),
    Case("an evaluation that is no JSON", "eval.json: expected JSON, got", write("eval.json", "{"), command=REPORT),
    Case("settings.json of other settings", "settings.json: expected steps 5, ",
         write("out/settings.json", '{"format": "fit-scenes-v1", "steps": 5}'), command=f"{FIT} --steps 7"),
    Case("settings.json of another command", "settings.json: expected the format fit-scenes-v1",
         write("out/settings.json", '{"steps": 5}'), command=FIT),
    Case("settings.json that is no JSON", "settings.json: expected JSON with finite numbers",
         write("out/settings.json", "{"), command=FIT),
    Case("status.json that is no JSON", "status.json: expected JSON with finite numbers", write("out/status.json", "{"),
         command="lns report FOLDER/out"),
    ],
    command=RUN,
)


FLAGS = Group(
    "Flags",
    "Numbers out of their range and files that are there already are refused before work begins.",
    [
    Case("demo-scenes without scenes", "num_scenes: expected at least 1", command=f"{DEMO} --num-scenes 0"),
    Case("demo-scenes of one view", "views: expected at least 2, got", command=f"{DEMO} --views 1"),
    Case("demo-scenes of four pixels", "size: expected at least 8, got", command=f"{DEMO} --size 4"),
    Case("demo-scenes from a seed below zero", "seed: expected at least 0, got", command=f"{DEMO} --seed -1"),
    Case("demo-scenes over scenes", "car_0000: expected nothing there, or the same", write("out/car_0000/x", ""),
         command=DEMO),
    Case("orbit of 10^6 pixels", "size: expected 1 to 4096 pixels", command=f"{ORBIT} --size 1000000"),
    Case("orbit into a .avi", "output: expected a .mp4 or", command=ORBIT.replace(".gif", ".avi")),
    Case("render-latents into a .pt", "output: expected a .safetensors file",
         command="lns render-latents FOLDER/files --output FOLDER/out.pt"),
    Case("render-latents over a file", "out.safetensors: expected nothing there", put("out.safetensors", b""),
         command="lns render-latents FOLDER/files --output FOLDER/out.safetensors"),
    Case("training cameras of scene files", "files: expected scenes with their training",
         command="lns render-latents FOLDER/files --bundle FOLDER/bundle --path training "
         "--output FOLDER/o.safetensors"),
    Case("pack-scenes of nothing", "source: expected at least one scene",
         command="lns pack-scenes --output FOLDER/out"),
    Case("import-scenes with one view", "views: expected 2 to 1000, of",
         command="lns import-scenes FOLDER/files --bundle FOLDER/bundle --output FOLDER/out --views 1"),
    Case("fit-scenes with RGB alignment after the end", "rgb_alignment_start: expected less than the 5",
         command=f"{FIT} --steps 5 --rgb-alignment-start 5"),
    Case("fit-scenes of a part that there is none of", "shard: expected i/n with i", command=f"{FIT} --shard 3/2"),
    Case("gallery of too many views", "gallery: expected 1 to 85 views",
         command="lns gallery FOLDER/files --output FOLDER/out --views 100000"),
    Case("process-photos without photos", "scene: expected three photos or more",
         command=f"{PHOTOS} --output FOLDER/out"),
    Case("process-photos around the photos", "scene: expected a folder apart from",
         command=f"{PHOTOS}/images --output FOLDER/scene --overwrite"),
    Case("photos without a side", "longest_side: expected at least 16",
         command=f"{PHOTOS}/images --output FOLDER/out --longest-side 0"),
    Case("info of nothing", "none: expected a run, scenes", command="lns info FOLDER/none"),
    Case("a cache in memory", "location: expected disk or a", command="lns cache --location memory"),
    Case("report of two runs with one evaluation", "eval: expected one for each of",
         command="lns report FOLDER/run FOLDER/run --eval FOLDER/eval.json"),
    Case("an unknown command", "lns: expected a command", command="lns fly"),
    Case("a flag that is not there", "...Unrecognized...options: --wings...", command=f"{DEMO} --wings 2"),
    Case("words for a number", "...--num-scenes...invalid literal for int...", command=f"{DEMO} --num-scenes many"),
    Case("RGB alignment from a step below zero", "rgb_alignment_start: expected at least 0",
         command=f"{TRAIN} --pipeline.rgb-alignment-start -1"),
    Case("mixed supervision of 1", "mixed_supervision: expected t between 0 and",
         command=f"{LATENT} --pipeline.mixed-supervision 1.0"),
    Case("nothing to train on renders", "align_scenes: expected True with train_decoder False",
         command=f"{LATENT} --pipeline.align-scenes False --pipeline.train-decoder False"),
    Case("planes of no texels", "tri-plane field: expected micro_features > 0, or",
         command=f"{TRAIN} --pipeline.model.nerf.field.resolution 0"),
    Case("no samples", "num_samples and num_importance_samples: expected at least 1 and",
         command=f"{TRAIN} --pipeline.model.nerf.num-samples 0"),
    Case("an unknown scene to show", "scene: expected one of scene", command=f"{TRAIN} --pipeline.model.scene c"),
    Case("real images that are not there", "real images FOLDER/none: expected",
         command="ns-train ig-ae --data FOLDER/scenes --pipeline.real-images FOLDER/none "
         "--pipeline.datamanager.scenes-per-batch 2 --pipeline.datamanager.images-per-batch 2"),
    Case("orbit of a radius below zero", "orbit: expected a positive radius and", command="lns.orbit(radius=-1.0)"),
    Case("pictures without channels", "pictures: expected [n, height, width, 3]",
         command="lns.load_autoencoder('identity').encode(__import__('torch').zeros(8, 8))"),
    ],
)


HUB = Group(
    "The Hub",
    "Wherever a folder is taken, a Hub id is ([hub.md](hub.md)); only safetensors and JSON files are.",
    [
    Case("an autoencoder without network", "autoencoder source 'nobody/nothing': expected a folder, or a",
         command="lns.load_autoencoder('nobody/nothing')"),
    Case("push without network", "nobody/nothing: expected the Hub to take",
         command="lns push FOLDER/bundle nobody/nothing"),
    Case("no Hub id", "repository: expected OWNER/NAME", command="lns pull nothing --output FOLDER/out"),
    Case("push of nothing", "none: expected a folder with a",
         command="lns push FOLDER/none nobody/nothing --output FOLDER/out"),
    Case("push of an archive", "files.zip: expected a folder of scene",
         command="lns push FOLDER/files.zip nobody/nothing --kind scenes --output FOLDER/out"),
    ],
)


MACHINE = Group(
    "The machine",
    "No network is in the table above. What is being written is complete or not there.",
    [
    Case("no ffmpeg", "ffmpeg: expected a program, as imageio-ffmpeg", command=ORBIT.replace(".gif", ".mp4"),
         around=no_ffmpeg),
    Case("a full disk", "out.zip: expected room to write it",
         command="lns pack-scenes FOLDER/files --output FOLDER/out.zip", around=full_disk),
    Case("a folder that is a file", "output: expected a place below folders",
         command="lns pack-scenes FOLDER/files --output FOLDER/path.json/out.zip"),
    Case("no CUDA", "machine.device_type: expected cpu on a machine", command=f"{TRAIN} --machine.device-type cuda",
         around=no_cuda),
    Case("no CUDA, in Python", "device: expected cpu, or cuda where",
         command="lns.load('FOLDER/files', bundle='FOLDER/bundle', device='cuda')", around=no_cuda),
    Case("gaussians without CUDA", "latent-splatfacto: expected a CUDA device",
         command="ns-train latent-splatfacto --data FOLDER/scene", around=no_cuda),
    Case("no embreex", "meshes: expected embreex, which casts rays", command=f"{DEMO} --num-scenes 1",
         around=without("embreex")),
    Case("no pycolmap", "photos: expected pycolmap, which finds", command=f"{PHOTOS}/images --output FOLDER/out",
         around=without("pycolmap")),
    ],
)
# fmt: on

GROUPS = [RUNS, FLAGS, HUB, MACHINE]
