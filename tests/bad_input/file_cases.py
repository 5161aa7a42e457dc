"""Rows on what people exchange: autoencoders, shared bundles, scene files, archives, latents, meshes."""

import json
import zipfile

from breaking import (
    Case,
    Group,
    both,
    cut,
    edit,
    entries,
    flip,
    header,
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
BUNDLE = "lns.load_bundle('FOLDER/bundle')"
START = "ns-train latent-triplane --data FOLDER/scene --pipeline.model.shared-bundle FOLDER/bundle"
SCENES = "lns.load('FOLDER/files', bundle='FOLDER/bundle')"
PACK = "lns pack-scenes FOLDER/files --output FOLDER/out"
ARCHIVE = "lns pack-scenes FOLDER/files.zip --output FOLDER/out"
CONFIG, WEIGHTS = "vae/config.json", "vae/diffusion_pytorch_model.safetensors"
SETTINGS, SHARED = "bundle/shared_bundle/bundle.json", "bundle/shared_bundle/shared.safetensors"
SCENE = "files/a.safetensors"


def number(name, value):
    """Sets an entry of a JSON file."""
    return entries(name, **value)


def field(**values):
    """Changes settings of the bundle's field, and its hash with them."""

    def change(folder):
        settings = json.loads((folder / SETTINGS).read_text())
        resigned(field={**settings["field"], **values})(folder)

    return change


def inner(**values):
    """Changes what the bundle says of its autoencoder, and its hash with it."""

    def change(folder):
        settings = json.loads((folder / SETTINGS).read_text())
        resigned(autoencoder={**settings["autoencoder"], **values})(folder)

    return change


class Harmful:
    """Would run code when it is read."""

    def __reduce__(self):
        return (print, ("harm",))


def autoencoders() -> Group:
    return Group(
        "Autoencoders",
        "A folder in diffusers format, or a Hub id: `--pipeline.model.autoencoder.source`, `lns.load_autoencoder`.",
        [
            Case("no folder", "lns.load_autoencoder('FOLDER/none')", ""),
            Case("a folder that holds something else", "lns.load_autoencoder('FOLDER/scene')", "", "scene"),
            Case("a subfolder that is not there", "lns.load_autoencoder('FOLDER/vae', 'unet')", "", "vae"),
            Case("config.json that is no JSON", AUTOENCODER, "", "vae", cut(CONFIG)),
            Case("config.json that is a list", AUTOENCODER, "", "vae", put(CONFIG, b"[]")),
            Case("config.json of another class", AUTOENCODER, "", "vae", number(CONFIG, {"_class_name": "UNet2DModel"})),
            Case("config.json without a class", AUTOENCODER, "", "vae", number(CONFIG, {"_class_name": ...})),
            Case("a class that is a list", AUTOENCODER, "", "vae", number(CONFIG, {"_class_name": ["AutoencoderKL"]})),
            Case("widths of other weights", AUTOENCODER, "", "vae", number(CONFIG, {"block_out_channels": [4, 4, 8]})),
            Case("widths that no memory holds", AUTOENCODER, "", "vae", number(CONFIG, {"block_out_channels": [4, 4, 1 << 24]})),
            Case("a billion layers", AUTOENCODER, "", "vae", number(CONFIG, {"layers_per_block": 10**9})),
            Case("no widths", AUTOENCODER, "", "vae", number(CONFIG, {"block_out_channels": []})),
            Case("words for channels", AUTOENCODER, "", "vae", number(CONFIG, {"latent_channels": "four"})),
            Case("no weights", AUTOENCODER, "", "vae", remove(WEIGHTS)),
            Case("weights that end early", AUTOENCODER, "", "vae", cut(WEIGHTS)),
            Case("weights that lack a layer", AUTOENCODER, "", "vae", lacking),
            Case(
                "weights as pickle alone",
                AUTOENCODER,
                "",
                "vae",
                both(remove(WEIGHTS), saved("vae/diffusion_pytorch_model.bin", Harmful)),
            ),
            Case("latent_space.json that is no JSON", AUTOENCODER, "", "vae", write("vae/latent_space.json", "{")),
            Case("latent_space.json that is a list", AUTOENCODER, "", "vae", write("vae/latent_space.json", "[]")),
            Case("a mean of other channels", AUTOENCODER, "", "vae", write("vae/latent_space.json", '{"mean": [0, 0], "std": 1}')),
            Case("a standard deviation of 0", AUTOENCODER, "", "vae", write("vae/latent_space.json", '{"mean": 0, "std": 0}')),
            Case("a checkpoint with code in it", "lns import-autoencoder FOLDER/x.pt FOLDER/out", "", breaks=saved("x.pt", Harmful)),
            Case("a checkpoint that is none", "lns import-autoencoder FOLDER/x.pt FOLDER/out", "", breaks=write("x.pt", "weights")),
            Case(
                "a checkpoint without an autoencoder",
                "lns import-autoencoder FOLDER/x.pt FOLDER/out",
                "",
                breaks=saved("x.pt", lambda: {"nerfs": []}),
            ),
            Case("a checkpoint that is not there", "lns import-autoencoder FOLDER/x.pt FOLDER/out", ""),
        ],
    )


def lacking(folder):
    """Removes a tensor of the autoencoder."""
    from safetensors.torch import load_file, save_file

    values = load_file(folder / WEIGHTS)
    save_file({name: value for name, value in values.items() if name != "decoder.conv_in.weight"}, folder / WEIGHTS)


def bundles() -> Group:
    return Group(
        "Shared bundles",
        "`--pipeline.model.shared-bundle`, `--bundle`, `lns.load_bundle`. What `bundle.json` says is checked even where "
        "its hash fits: whoever writes a bundle can write a hash.",
        [
            Case("nothing there", "lns.load_bundle('FOLDER/none')", ""),
            Case("a folder without a bundle", "lns.load_bundle('FOLDER/scene')", "", "scene"),
            Case("bundle.json that is no JSON", BUNDLE, "", "bundle", cut(SETTINGS)),
            Case("bundle.json that is a list", BUNDLE, "", "bundle", put(SETTINGS, b"[]")),
            Case("bundle.json of brackets without end", BUNDLE, "", "bundle", put(SETTINGS, b"[" * 100_000)),
            Case("another format", BUNDLE, "", "bundle", entries(SETTINGS, format="shared-bundle-v9")),
            Case("a changed setting", BUNDLE, "", "bundle", entries(SETTINGS, normalizer="tanh")),
            Case("a changed byte of the tensors", BUNDLE, "", "bundle", flip(SHARED, 0.99)),
            Case("tensors that end early", BUNDLE, "", "bundle", cut(SHARED)),
            Case("no tensors", BUNDLE, "", "bundle", remove(SHARED)),
            Case("a header of 2^63 bytes", BUNDLE, "", "bundle", put(SHARED, b"\xff" * 7 + b"\x7f")),
            Case("a setting too many", BUNDLE, "", "bundle", resigned(colour="red")),
            Case("a setting too few", BUNDLE, "", "bundle", resigned(field=...)),
            Case("settings of the field as text", BUNDLE, "", "bundle", resigned(field="deep")),
            Case("an unknown setting of the field", START, "", "bundle scene", field(depth=3)),
            Case("a resolution of 10^9", BUNDLE, "", "bundle", field(resolution=10**9)),
            Case("a resolution below zero", BUNDLE, "", "bundle", field(resolution=-8)),
            Case("a width that is text", BUNDLE, "", "bundle", field(hidden_width="wide")),
            Case("other base planes than the settings say", START, "", "bundle scene", field(num_base_planes=5)),
            Case("a box upside down", BUNDLE, "", "bundle", resigned(aabb=[[1, 1, 1], [-1, -1, -1]])),
            Case("a box of words", BUNDLE, "", "bundle", resigned(aabb="unit")),
            Case("a colour of two numbers", BUNDLE, "", "bundle", resigned(background_color=[1.0, 1.0])),
            Case("an unknown normaliser", BUNDLE, "", "bundle", resigned(normalizer="median")),
            Case("facts that are a list", BUNDLE, "", "bundle", resigned(facts=[1, 2])),
            Case("an autoencoder of other channels", START, "", "bundle scene", inner(channels=7)),
            Case("an autoencoder that is not there", START, "", "bundle scene", both(drop_autoencoder, resigned())),
            Case("tensors of the field that lack one", START, "", "bundle scene", tensors(lambda t: t.pop("field.base_planes"))),
            Case("no normaliser", START, "", "bundle scene", tensors(lambda t: t.pop("normalizer.mean"))),
            Case("NaN among the tensors", BUNDLE, "", "bundle", tensors(lambda t: t["background"].fill_(float("nan")))),
            Case(
                "a decoder that lacks a layer",
                START,
                "",
                "bundle scene",
                tensors(lambda t: t.pop(next(name for name in sorted(t) if name.startswith("decoder.")))),
            ),
            Case("a decoder of another autoencoder", BUNDLE, "", "bundle", tensors(wider_decoder)),
        ],
    )


def drop_autoencoder(folder):
    import shutil

    shutil.rmtree(folder / "bundle" / "shared_bundle" / "autoencoder")


def wider_decoder(values):
    name = next(name for name in sorted(values) if name.startswith("decoder."))
    values[name] = values[name].new_zeros(3, 3)


def scene_files() -> Group:
    nothing = {"__metadata__": {}}
    return Group(
        "Scene files",
        "[Scene files](scene_files.md) come from strangers: sizes, types and shapes are checked before memory is taken.",
        [
            Case("nothing there", "lns.load('FOLDER/none.safetensors')", ""),
            Case("a folder without scene files", "lns.load('FOLDER/scene')", "", "scene"),
            Case("a file of another kind", "lns.load('FOLDER/path.json')", "", "path.json"),
            Case("an empty file", PACK, "", "files", put(SCENE, b"")),
            Case("a file that ends early", PACK, "", "files", cut(SCENE, 0.9)),
            Case("a changed byte", PACK, "", "files", flip(SCENE, 0.9)),
            Case("a header of 2^63 bytes", PACK, "", "files", put(SCENE, b"\xff" * 7 + b"\x7f")),
            Case("a header that is no JSON", PACK, "", "files", flip(SCENE, 0.02)),
            Case("a header that is a list", PACK, "", "files", header(SCENE, lambda h: [])),
            Case("a safetensors file of something else", PACK, "", "files", header(SCENE, lambda h: h.update(nothing))),
            Case("an unknown type", PACK, "", "files", header(SCENE, lambda h: h["micro_planes"].update(dtype="I64"))),
            Case("a shape of 2^39 numbers", PACK, "", "files", header(SCENE, lambda h: h["micro_planes"].update(shape=[1 << 39]))),
            Case("a shape below zero", PACK, "", "files", header(SCENE, lambda h: h["micro_planes"].update(shape=[-1, 2]))),
            Case("tensors one over the other", PACK, "", "files", header(SCENE, overlapping)),
            Case("no tensors", PACK, "", "files", header(SCENE, lambda h: [h.pop(n) for n in list(h) if n[0] != "_"] and None)),
            Case("another format", PACK, "", "files", said(lambda meta: meta.update(format="scene-v9"))),
            Case("an entry too few", PACK, "", "files", said(lambda meta: meta.pop("facts"))),
            Case("another name than was signed", PACK, "", "files", said(lambda meta: meta.update(name="c"))),
            Case("a name that leads out of the folder", PACK, "", "files", signed(name="../../etc/cron")),
            Case("a name with a terminal's commands", PACK, "", "files", signed(name="\x1b[2Jcar")),
            Case("two scenes of one name", PACK, "", "files", signed(name="b")),
            Case("scenes of two bundles", "lns pack-scenes FOLDER/files FOLDER/other.safetensors --output FOLDER/o.zip", "", "files other.safetensors"),
            Case("scenes of another bundle", "lns.load('FOLDER/other.safetensors', bundle='FOLDER/bundle')", "", "other.safetensors bundle"),
            Case("no bundle beside them", "lns.load('FOLDER/files')", "", "files"),
            Case("cameras of 10^6 pixels", SCENES, "", "files bundle", signed(facts={"cameras": {"height": 10**6, "width": 8}})),
            Case("cameras that are words", SCENES, "", "files bundle", signed(facts={"cameras": "near"})),
            Case(
                "an unknown scene",
                "lns import-scenes FOLDER/files --bundle FOLDER/bundle --output FOLDER/out --scenes c",
                "",
                "files bundle",
            ),
        ],
    )


def overlapping(content):
    names = [name for name in content if name != "__metadata__"]
    content[names[1]]["data_offsets"] = content[names[0]]["data_offsets"]
    content[names[1]].update(dtype=content[names[0]]["dtype"], shape=content[names[0]]["shape"])


def index(*names, **values):
    return json.dumps({"format": "scene-archive-v1", "bundle": "ab", "scenes": list(names), **values}).encode()


def archives() -> Group:
    scene = {"a.safetensors": None}
    return Group(
        "Archives",
        "Nothing is unpacked to the disk, and nothing larger than the archive itself into memory.",
        [
            Case("nothing there", "lns pack-scenes FOLDER/none.zip --output FOLDER/out", ""),
            Case("no zip", ARCHIVE, "", "files.zip", put("files.zip", b"PK")),
            Case("a zip that ends early", ARCHIVE, "", "files.zip", cut("files.zip")),
            Case("a changed byte of a scene", ARCHIVE, "", "files.zip", flip("files.zip", 0.2)),
            Case("an empty zip", ARCHIVE, "", "files", zipped({})),
            Case("no index", ARCHIVE, "", "files", zipped(scene)),
            Case("the index alone", ARCHIVE, "", "files", zipped({"index.json": index()})),
            Case("an index that is no JSON", ARCHIVE, "", "files", zipped({**scene, "index.json": b"{"})),
            Case("an index of other scenes", ARCHIVE, "", "files", zipped({**scene, "index.json": index("b")})),
            Case("an index of another format", ARCHIVE, "", "files", zipped({**scene, "index.json": index("a", format="v9")})),
            Case("a path that leads out", ARCHIVE, "", "files", zipped({"../a.safetensors": b"", "index.json": index("../a")})),
            Case("an absolute path", ARCHIVE, "", "files", zipped({"/etc/a.safetensors": b"", "index.json": index("/etc/a")})),
            Case("a program beside the scenes", ARCHIVE, "", "files", zipped({**scene, "run.sh": b"", "index.json": index("a")})),
            Case(
                "members that unfold (a zip bomb)",
                ARCHIVE,
                "",
                "files",
                zipped({"a.safetensors": b"\0" * 10_000_000, "index.json": index("a")}, zipfile.ZIP_DEFLATED),
            ),
            Case("a scene of another name", ARCHIVE, "", "files", both(zipped({"c.safetensors": b"", "index.json": index("c")}), misnamed)),
        ],
    )


def misnamed(folder):
    data = (folder / "files" / "a.safetensors").read_bytes()
    zipped({"c.safetensors": data, "index.json": index("c")})(folder)


def others() -> Group:
    decode = "lns decode-latents FOLDER/latents.safetensors --autoencoder FOLDER/vae --output FOLDER/out"
    latents = "latents.safetensors"
    render = "lns render-meshes FOLDER/meshes FOLDER/out --num-workers 1"
    path = "lns.camera_path('FOLDER/path.json')"
    return Group(
        "Latents, camera paths, meshes",
        "Files of `lns render-latents`, of the viewer's Render panel, and meshes for `lns render-meshes`.",
        [
            Case("latents that are not there", decode, ""),
            Case("no safetensors file", decode, "", latents, put(latents, b"latents")),
            Case("latents that end early", decode, "", latents, cut(latents, 0.9)),
            Case("a file without latents", "lns decode-latents FOLDER/a.safetensors --autoencoder bundled --output FOLDER/out", "", "files", rename("files/a.safetensors", "a.safetensors")),
            Case("latents of one number", decode, "", latents, lone_number),
            Case("latents with NaN", decode, "", latents, nan_latents),
            Case("latents of another autoencoder", decode.replace("FOLDER/vae", "bundled"), "", f"{latents}", wide_latents),
            Case("metadata of another format", decode, "", latents, said_of_latents(format="latents-v9")),
            Case("a height of 0", decode, "", latents, said_of_latents(height=0)),
            Case("a height that does not fit", decode, "", f"{latents} vae", said_of_latents(height=500)),
            Case("a box of words", decode, "", latents, said_of_latents(box="unit")),
            Case("no camera path", "lns.camera_path('FOLDER/none.json')", ""),
            Case("a camera path that is a list", path, "", breaks=write("path.json", "[]")),
            Case("a camera path without cameras", path, "", "path.json", entries("path.json", camera_path=[])),
            Case("a camera path of 10^6 pixels", path, "", "path.json", entries("path.json", render_height=10**6)),
            Case("a camera path with words for numbers", path, "", "path.json", edit("path.json", lambda p: p["camera_path"][0].update(fov="wide"))),
            Case("a camera path of brackets without end", path, "", breaks=put("path.json", b"[" * 100_000)),
            Case("no meshes", render, "", breaks=lambda folder: (folder / "meshes").mkdir()),
            Case("a mesh that is none", render, "", "meshes", write("meshes/box.obj", "f 1 2 3\n")),
            Case("a mesh without faces", render, "", "meshes", write("meshes/box.obj", "v 0 0 0\nv 1 1 1\n")),
            Case("a mesh with NaN", render, "", "meshes", write("meshes/box.obj", "v nan 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n")),
            Case("a mesh of another format", render, "", "meshes", put("meshes/box.glb", b"glTF\2\0\0\0")),
        ],
    )


def lone_number(folder):
    import torch
    from safetensors.torch import save_file

    save_file({"latents": torch.zeros(())}, folder / "latents.safetensors")


def nan_latents(folder):
    import torch
    from safetensors.torch import save_file

    save_file({"latents": torch.full((1, 4, 2, 2), float("nan"))}, folder / "latents.safetensors")


def wide_latents(folder):
    import torch
    from safetensors.torch import save_file

    save_file({"latents": torch.zeros(1, 99, 2, 2)}, folder / "latents.safetensors")


def said_of_latents(**values):
    def change(content):
        meta = {**json.loads(content["__metadata__"]["latents"]), **values}
        content["__metadata__"]["latents"] = json.dumps(meta)

    return header("latents.safetensors", change)


GROUPS = [autoencoders(), bundles(), scene_files(), archives(), others()]
