"""Rows on what people exchange: autoencoders, shared bundles, scene files, archives, latents, meshes."""

import json
import zipfile

from breaking import (
    Case,
    Group,
    Harmful,
    both,
    cut,
    edit,
    entries,
    flip,
    header,
    pipe,
    put,
    remove,
    rename,
    resigned,
    said,
    saved,
    signed,
    tensors,
    write,
    zipped,
)

AUTOENCODER = "lns.load_autoencoder('FOLDER/vae')"
IMPORT = "lns import-autoencoder FOLDER/x.pt --output FOLDER/out"
BUNDLE = "lns.load_bundle('FOLDER/bundle')"
START = "ns-train latent-triplane --data FOLDER/scene --pipeline.model.shared-bundle FOLDER/bundle"
SCENES = "lns.load('FOLDER/files', bundle='FOLDER/bundle')"
PACK = "lns pack-scenes FOLDER/files --output FOLDER/out"
ARCHIVE = "lns pack-scenes FOLDER/files.zip --output FOLDER/out"
CONFIG, WEIGHTS = "vae/config.json", "vae/diffusion_pytorch_model.safetensors"
SETTINGS, SHARED = "bundle/shared_bundle/bundle.json", "bundle/shared_bundle/shared.safetensors"
SCENE = "files/a.safetensors"


def index(*names, **values):
    return json.dumps({"format": "scene-archive-v1", "bundle": "ab", "scenes": list(names), **values}).encode()


def misnamed(folder):
    data = (folder / "files" / "a.safetensors").read_bytes()
    zipped({"c.safetensors": data, "index.json": index("c")})(folder)


def latents_of(shape, value=0.0):
    """Writes latents of one number."""

    def change(folder):
        import torch
        from safetensors.torch import save_file

        save_file({"latents": torch.full(shape, value)}, folder / "latents.safetensors")

    return change


def said_of_latents(**values):
    def change(content):
        meta = {**json.loads(content["__metadata__"]["latents"]), **values}
        content["__metadata__"]["latents"] = json.dumps(meta)

    return header("latents.safetensors", change)


# fmt: off
AUTOENCODERS = Group(
    "Autoencoders",
    "A folder in diffusers format, or a Hub id: `--pipeline.model.autoencoder.source`, `lns.load_autoencoder`.",
    [
    Case("no folder", "autoencoder source: expected bundled, bundled-former, bundled-cars, bundled-standard",
         command="lns.load_autoencoder('FOLDER/none')"),
    Case("a folder that holds something else", "autoencoder source: expected a folder in diffusers",
         command="lns.load_autoencoder('FOLDER/scene')"),
    Case("config.json that is no JSON", "config.json: expected JSON with finite numbers", cut(CONFIG)),
    Case("config.json of another class", "vae: expected _class_name", entries(CONFIG, _class_name="UNet2DModel")),
    Case("config.json without a class", "vae: expected a JSON object with", entries(CONFIG, _class_name=...)),
    Case("widths of other weights", "vae: expected weights that fit its",
         entries(CONFIG, block_out_channels=[4, 4, 8])),
    Case("widths that no memory holds", "block_out_channels: expected a number up to",
         entries(CONFIG, block_out_channels=[4, 4, 1 << 24])),
    Case("too many layers in all", "layers_per_block: expected 256 in all at", entries(CONFIG, layers_per_block=200)),
    Case("pictures of one channel", "in_channels: expected 3, as pictures have", entries(CONFIG, in_channels=1)),
    Case("no widths", "vae: expected a config.json that an", entries(CONFIG, block_out_channels=[])),
    Case("no weights", "vae: expected weights (diffusion_pytorch_model.safetensors)", remove(WEIGHTS)),
    Case("weights as pickle alone", "vae: expected weights as safetensors",
         both(remove(WEIGHTS), saved("vae/diffusion_pytorch_model.bin", Harmful))),
    Case("a mean of other channels", "mean: expected one finite number or",
         write("vae/latent_space.json", '{"mean": [0, 0], "std": 1}')),
    Case("a standard deviation of 0", "std: expected one positive finite number",
         write("vae/latent_space.json", '{"mean": 0, "std": 0}')),
    Case("a checkpoint with code in it", "x.pt: expected tensors alone", saved("x.pt", Harmful), command=IMPORT),
    Case("a checkpoint that is none", "x.pt: expected a checkpoint of torch.save", write("x.pt", "weights"),
         command=IMPORT),
    Case("a checkpoint without an autoencoder", "x.pt: expected the state dict of",
         saved("x.pt", lambda: {"nerfs": []}), command=IMPORT),
    Case("a checkpoint that is not there", "x.pt: expected a file", command=IMPORT),
    ],
    command=AUTOENCODER,
)


BUNDLES = Group(
    "Shared bundles",
    "`--pipeline.model.shared-bundle`, `--bundle`, `lns.load_bundle`. What `bundle.json` says is checked even "
    "where its hash fits: whoever writes a bundle can write a hash.",
    [
    Case("nothing there", "shared bundle: expected bundled, bundled-cars, bundled-former, a run",
         command="lns.load_bundle('FOLDER/none')"),
    Case("bundle.json that is no JSON", "shared_bundle: expected readable files", cut(SETTINGS)),
    Case("another format", "shared_bundle: expected the format shared-bundle-v1",
         entries(SETTINGS, format="shared-bundle-v9")),
    Case("a changed setting", "shared_bundle: expected contents with the hash", entries(SETTINGS, normalizer="tanh")),
    Case("a setting too many", "shared_bundle: expected the settings of a", resigned(colour="red")),
    Case("a setting too few", "field: expected an object", resigned(field=...)),
    Case("an unknown setting of the field", "shared bundle: expected settings of this version's",
         resigned("field", depth=3), command=START),
    Case("a resolution of 10^9", "resolution: expected a whole number from", resigned("field", resolution=10**9)),
    Case("other base planes than the settings say", "field.base_planes: expected [5, 3, 3, 8",
         resigned("field", num_base_planes=5), command=START),
    Case("a box upside down", "aabb: expected two corners, the lower", resigned(aabb=[[1, 1, 1], [-1, -1, -1]])),
    Case("a colour of two numbers", "background_color: expected three numbers in [0",
         resigned(background_color=[1.0, 1.0])),
    Case("an unknown normaliser", "normalizer: expected mean-std, tanh or none", resigned(normalizer="median")),
    Case("facts that are a list", "facts: expected an object, its seconds", resigned(facts=[1, 2])),
    Case("an autoencoder of other channels", "normalizer.mean: expected [7]", resigned("autoencoder", channels=7),
         command=START),
    Case("a decoder that lacks a layer", "shared_bundle: expected a decoder of its",
         tensors(lambda t: t.pop(next(name for name in sorted(t) if name.startswith("decoder.")))), command=START),
    ],
    command=BUNDLE,
)


SCENE_FILES = Group(
    "Scene files",
    "[Scene files](scene_files.md) come from strangers: sizes, types and shapes are checked before memory is "
    "taken.",
    [
    Case("nothing there", "none.safetensors: expected a run (config.yml), scene",
         command="lns.load('FOLDER/none.safetensors')"),
    Case("a folder without scene files", "scene: expected a run (config.yml), scene",
         command="lns.load('FOLDER/scene')"),
    Case("a file of another kind", "path.json: expected a run (config.yml), scene",
         command="lns.load('FOLDER/path.json')"),
    Case("a pipe in the place of a file", "a.safetensors: expected a regular file", pipe(SCENE)),
    Case("facts that nobody can count with", "facts: expected numbers up to 1e+30", signed(facts={"psnr": 1e300})),
    Case("an empty file", "a.safetensors: expected a scene file", put(SCENE, b"")),
    Case("a file that ends early", "a.safetensors: expected tensors as its header", cut(SCENE, 0.9)),
    Case("a changed byte", "a.safetensors: expected contents with the SHA-256", flip(SCENE, 0.9)),
    Case("another format", "a.safetensors: expected the format scene-v1",
         said(lambda meta: meta.update(format="scene-v9"))),
    Case("an entry too few", "a.safetensors: expected the entries format, name", said(lambda meta: meta.pop("facts"))),
    Case("a name that leads out of the folder", "FOLDER/files/a.safetensors, scene name: expected 1 to 200 bytes",
         signed(name="../../etc/cron")),
    Case("two scenes of one name", "scenes: expected each scene once", signed(name="b")),
    Case("scenes of two bundles", "scenes: expected scenes of one bundle",
         command="lns pack-scenes FOLDER/files FOLDER/other.safetensors --output FOLDER/o.zip"),
    Case("scenes of another bundle", "other.safetensors: expected a scene of the",
         command="lns.load('FOLDER/other.safetensors', bundle='FOLDER/bundle')"),
    Case("no bundle beside them", "files: expected the shared bundle", command="lns.load('FOLDER/files')"),
    Case("cameras of 10^6 pixels", "scene 'a': expected height and width up",
         signed(facts={"cameras": {"height": 10**6, "width": 8}}), command=SCENES),
    Case("an unknown scene", "scenes: expected scenes of FOLDER/files, such",
         command="lns import-scenes FOLDER/files --bundle FOLDER/bundle --output FOLDER/out --scenes c"),
    ],
    command=PACK,
)


scene = {'a.safetensors': None}
ARCHIVES = Group(
    "Archives",
    "Nothing is unpacked to the disk, and nothing larger than the archive itself into memory.",
    [
    Case("no zip", "files.zip: expected an archive of scenes", put("files.zip", b"PK")),
    Case("a changed byte of a scene", "a.safetensors: expected a readable member", flip("files.zip", 0.2)),
    Case("an empty zip", "files.zip: expected index.json and scenes", zipped({})),
    Case("an index of other scenes", "files.zip: expected index.json and the scenes that it names alone",
         zipped({**scene, "index.json": index("b")})),
    Case("an index of another format", "files.zip: expected the format scene-archive-v1",
         zipped({**scene, "index.json": index("a", format="v9")})),
    Case("a program beside the scenes", "files.zip: expected index.json and the scenes...alone, got 'run.sh'",
         zipped({**scene, "run.sh": b"", "index.json": index("a")})),
    Case("members that unfold (a zip bomb)", "files.zip: expected members as they are",
         zipped({"a.safetensors": b"\0" * 10_000_000, "index.json": index("a")}, zipfile.ZIP_DEFLATED)),
    Case("a scene of another name", "c.safetensors: expected the scene 'c'",
         misnamed),
    ],
    command=ARCHIVE,
    takes="files files.zip",
)


decode = 'lns decode-latents FOLDER/latents.safetensors --autoencoder FOLDER/vae --output FOLDER/out'
latents = 'latents.safetensors'
render = 'lns render-meshes FOLDER/meshes --output FOLDER/out --workers 1'
path = "lns.camera_path('FOLDER/path.json')"
SCALED = [2, 0, 0, 0, 0, 2, 0, 0, 0, 0, 2, 0, 0, 0, 0, 1]
OTHERS = Group(
    "Latents, camera paths, meshes",
    "Files of `lns render-latents`, of the viewer's Render panel, and meshes for `lns render-meshes`.",
    [
    Case("no safetensors file", "latents.safetensors: expected a file of latents", put(latents, b"latents")),
    Case("a file without latents", "a.safetensors: expected `latents` [n, C, h",
         rename("files/a.safetensors", "a.safetensors"),
         command="lns decode-latents FOLDER/a.safetensors --autoencoder bundled --output FOLDER/out", takes="files"),
    Case("latents with NaN", "latents.safetensors: expected finite latents", latents_of((1, 4, 2, 2), float("nan"))),
    Case("latents of another autoencoder", "latents: expected [n, 16, h, w]", latents_of((1, 99, 2, 2)),
         command=decode.replace("FOLDER/vae", "bundled")),
    Case("metadata of another format", "latents.safetensors: expected the format latents-v1",
         said_of_latents(format="latents-v9")),
    Case("a height of 0", "latents.safetensors: expected metadata of lns render-latents", said_of_latents(height=0)),
    Case("a height that does not fit", "latents: expected pictures of 5 to", said_of_latents(height=500)),
    Case("a camera path without cameras", "path.json: expected a camera path of", entries("path.json", camera_path=[]),
         command=path),
    Case("a camera path of 10^6 pixels", "path.json: expected finite cameras of 1",
         entries("path.json", render_height=10**6), command=path),
    Case("a camera path with a scaled pose", "path.json, pose of 'camera 0': expected a rotation",
         edit("path.json", lambda content: content["camera_path"][0].update(camera_to_world=SCALED)), command=path),
    Case("no meshes", "meshes: expected mesh files (.glb .gltf", lambda folder: (folder / "meshes").mkdir(),
         command=render, takes=""),
    Case("a mesh that is none", "box.obj: expected a mesh with faces", write("meshes/box.obj", "f 1 2 3\n"),
         command=render),
    Case("glTF that is compressed", "box.gltf: expected glTF without extensions that it",
         write("meshes/box.gltf", '{"extensionsRequired": ["EXT_meshopt_compression"]}'), command=render),
    Case("a mesh of two dimensions", "mesh: expected corners of shape",
         write("meshes/box.obj", "v 0 0\nv 1 0\nv 0 1\nf 1 2 3\n"), command=render),
    ],
    command=decode,
)
# fmt: on

GROUPS = [AUTOENCODERS, BUNDLES, SCENE_FILES, ARCHIVES, OTHERS]
