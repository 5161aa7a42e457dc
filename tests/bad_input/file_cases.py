"""Rows on what people exchange: autoencoders, shared bundles, scene files, archives, latents, meshes."""

import json
import os
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


def pipe(name):
    def change(folder):
        (folder / name).unlink()
        os.mkfifo(folder / name)

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
            Case(
                "no folder",
                "lns.load_autoencoder('FOLDER/none')",
                "autoencoder source: expected bundled, bundled-standard, bundled-f8, identity, a folder "
                "or a Hub id (owner/name), got 'FOLDER/none', which is no folder; check the path",
            ),
            Case(
                "a folder that holds something else",
                "lns.load_autoencoder('FOLDER/scene')",
                "autoencoder source: expected a folder in diffusers format, got FOLDER/scene without a "
                "config.json; name the folder that holds it, or its subfolder with "
                "--pipeline.model.autoencoder.subfolder",
                "scene",
            ),
            Case(
                "a subfolder that is not there",
                "lns.load_autoencoder('FOLDER/vae', 'unet')",
                "autoencoder source: expected a folder in diffusers format, got FOLDER/vae/unet without "
                "a config.json; name the folder that holds it, or its subfolder with "
                "--pipeline.model.autoencoder.subfolder",
                "vae",
            ),
            Case(
                "config.json that is no JSON",
                AUTOENCODER,
                "FOLDER/vae/config.json: expected JSON with finite numbers, got ...; save it again with "
                "save_pretrained",
                "vae",
                cut(CONFIG),
            ),
            Case(
                "config.json that is a list",
                AUTOENCODER,
                "FOLDER/vae/config.json: expected a JSON object, got list; save it again with save_pretrained",
                "vae",
                put(CONFIG, b"[]"),
            ),
            Case(
                "config.json of another class",
                AUTOENCODER,
                "autoencoder FOLDER/vae: expected _class_name ... in config.json, got UNet2DModel; convert "
                "it to one of these, or name another folder",
                "vae",
                number(CONFIG, {"_class_name": "UNet2DModel"}),
            ),
            Case(
                "config.json without a class",
                AUTOENCODER,
                "autoencoder FOLDER/vae: expected a JSON object with a _class_name, got "
                "{'_diffusers_version'...; save it again with save_pretrained",
                "vae",
                number(CONFIG, {"_class_name": ...}),
            ),
            Case(
                "widths of other weights",
                AUTOENCODER,
                "autoencoder FOLDER/vae: expected weights that fit its config.json, ... tensors, got ... "
                "of another shape (...); save it again with save_pretrained, or name the config.json that "
                "it came with",
                "vae",
                number(CONFIG, {"block_out_channels": [4, 4, 8]}),
            ),
            Case(
                "widths that no memory holds",
                AUTOENCODER,
                "autoencoder FOLDER/vae, block_out_channels: expected a number up to 65536, got "
                "16777216; save it again with save_pretrained",
                "vae",
                number(CONFIG, {"block_out_channels": [4, 4, 1 << 24]}),
            ),
            Case(
                "a billion layers",
                AUTOENCODER,
                "autoencoder FOLDER/vae, layers_per_block: expected a number up to 256, got 1000000000; "
                "save it again with save_pretrained",
                "vae",
                number(CONFIG, {"layers_per_block": 10**9}),
            ),
            Case(
                "too many layers in all",
                AUTOENCODER,
                "autoencoder FOLDER/vae, layers_per_block: expected 256 in all at most, got 600; save it "
                "again with save_pretrained",
                "vae",
                number(CONFIG, {"layers_per_block": 200}),
            ),
            Case(
                "pictures of one channel",
                AUTOENCODER,
                "autoencoder FOLDER/vae, in_channels: expected 3, as pictures have here, got 1; take one for colours",
                "vae",
                number(CONFIG, {"in_channels": 1}),
            ),
            Case(
                "no widths",
                AUTOENCODER,
                "autoencoder FOLDER/vae: expected a config.json that an autoencoder can be built by, got "
                "...; save it again with save_pretrained; ...",
                "vae",
                number(CONFIG, {"block_out_channels": []}),
            ),
            Case(
                "words for channels",
                AUTOENCODER,
                "autoencoder FOLDER/vae: expected a config.json that an autoencoder can be built by, got "
                "...; save it again with save_pretrained; ...",
                "vae",
                number(CONFIG, {"latent_channels": "four"}),
            ),
            Case(
                "no weights",
                AUTOENCODER,
                "autoencoder FOLDER/vae: expected weights (diffusion_pytorch_model.safetensors), got none; "
                "save it again with save_pretrained",
                "vae",
                remove(WEIGHTS),
            ),
            Case(
                "weights that end early",
                AUTOENCODER,
                "autoencoder FOLDER/vae: expected weights that fit its config.json, got ...; save it "
                "again with save_pretrained",
                "vae",
                cut(WEIGHTS),
            ),
            Case(
                "weights that lack a layer",
                AUTOENCODER,
                "autoencoder FOLDER/vae: expected weights that fit its config.json, ... tensors, got 1 "
                "missing (decoder.conv_in.weight); save it again with save_pretrained, or name the "
                "config.json that it came with",
                "vae",
                lacking,
            ),
            Case(
                "weights as pickle alone",
                AUTOENCODER,
                "autoencoder FOLDER/vae: expected weights as safetensors, got diffusion_pytorch_model.bin, "
                "which may run code when it is read, and so is refused; ...",
                "vae",
                both(remove(WEIGHTS), saved("vae/diffusion_pytorch_model.bin", Harmful)),
            ),
            Case(
                "latent_space.json that is no JSON",
                AUTOENCODER,
                "FOLDER/vae/latent_space.json: expected JSON with finite numbers, got '...'; remove or repair it",
                "vae",
                write("vae/latent_space.json", "{"),
            ),
            Case(
                "latent_space.json that is a list",
                AUTOENCODER,
                "FOLDER/vae/latent_space.json: expected a JSON object, got list; remove or repair it",
                "vae",
                write("vae/latent_space.json", "[]"),
            ),
            Case(
                "a mean of other channels",
                AUTOENCODER,
                "FOLDER/vae/latent_space.json, mean: expected one finite number or 4, one for each "
                "channel, got [0, 0]; remove or repair it",
                "vae",
                write("vae/latent_space.json", '{"mean": [0, 0], "std": 1}'),
            ),
            Case(
                "a standard deviation of 0",
                AUTOENCODER,
                "FOLDER/vae/latent_space.json, std: expected one positive finite number or 4, one for "
                "each channel, got 0; remove or repair it",
                "vae",
                write("vae/latent_space.json", '{"mean": 0, "std": 0}'),
            ),
            Case(
                "a checkpoint with code in it",
                "lns import-autoencoder FOLDER/x.pt --output FOLDER/out",
                "FOLDER/x.pt: expected tensors alone, got objects that need pickle, which may run any "
                "code (...); save the state dict of the autoencoder alone, where you trust the file",
                breaks=saved("x.pt", Harmful),
            ),
            Case(
                "a checkpoint that is none",
                "lns import-autoencoder FOLDER/x.pt --output FOLDER/out",
                "FOLDER/x.pt: expected a checkpoint of torch.save, got a file that is none (...); download "
                "it again, or name another file",
                breaks=write("x.pt", "weights"),
            ),
            Case(
                "a checkpoint without an autoencoder",
                "lns import-autoencoder FOLDER/x.pt --output FOLDER/out",
                "FOLDER/x.pt: expected the state dict of one AutoencoderKL, with encoder.conv_in.weight, "
                "alone or as 'vae', got none, but nothing with names; name a checkpoint of the published "
                "code",
                breaks=saved("x.pt", lambda: {"nerfs": []}),
            ),
            Case(
                "a checkpoint that is not there",
                "lns import-autoencoder FOLDER/x.pt --output FOLDER/out",
                "FOLDER/x.pt: expected a file, got nothing there; check the path",
            ),
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
        "`--pipeline.model.shared-bundle`, `--bundle`, `lns.load_bundle`. What `bundle.json` says is checked even "
        "where its hash fits: whoever writes a bundle can write a hash.",
        [
            Case(
                "nothing there",
                "lns.load_bundle('FOLDER/none')",
                "shared bundle: expected bundled, a run with a folder shared_bundle, its config.yml, "
                "that folder or a Hub id, got 'FOLDER/none', where there is none; check the path, or "
                "name a run of ig-ae",
            ),
            Case(
                "a folder without a bundle",
                "lns.load_bundle('FOLDER/scene')",
                "shared bundle: expected bundled, a run with a folder shared_bundle, its config.yml, "
                "that folder or a Hub id, got 'FOLDER/scene', where there is none; check the path, or "
                "name a run of ig-ae",
                "scene",
            ),
            Case(
                "bundle.json that is no JSON",
                BUNDLE,
                "shared bundle FOLDER/bundle/shared_bundle: expected readable files, got ...; copy the "
                "bundle again, or have its run write it again",
                "bundle",
                cut(SETTINGS),
            ),
            Case(
                "bundle.json that is a list",
                BUNDLE,
                "shared bundle FOLDER/bundle/shared_bundle: expected readable files, got ...; copy the "
                "bundle again, or have its run write it again",
                "bundle",
                put(SETTINGS, b"[]"),
            ),
            Case(
                "bundle.json of brackets without end",
                BUNDLE,
                "shared bundle FOLDER/bundle/shared_bundle: expected readable files, got ...; copy the "
                "bundle again, or have its run write it again",
                "bundle",
                put(SETTINGS, b"[" * 100_000),
            ),
            Case(
                "another format",
                BUNDLE,
                "shared bundle FOLDER/bundle/shared_bundle: expected the format shared-bundle-v1, got "
                "shared-bundle-v9; update this package",
                "bundle",
                entries(SETTINGS, format="shared-bundle-v9"),
            ),
            Case(
                "a changed setting",
                BUNDLE,
                "shared bundle FOLDER/bundle/shared_bundle: expected contents with the hash ..., as "
                "bundle.json says, got ...; files were changed or damaged: copy the bundle again, or "
                "have its run write it again",
                "bundle",
                entries(SETTINGS, normalizer="tanh"),
            ),
            Case(
                "a changed byte of the tensors",
                BUNDLE,
                "shared bundle FOLDER/bundle/shared_bundle: expected contents with the hash ..., as "
                "bundle.json says, got ...; files were changed or damaged: copy the bundle again, or "
                "have its run write it again",
                "bundle",
                flip(SHARED, 0.99),
            ),
            Case(
                "tensors that end early",
                BUNDLE,
                "shared bundle FOLDER/bundle/shared_bundle: expected readable files, got ...; copy the "
                "bundle again, or have its run write it again",
                "bundle",
                cut(SHARED),
            ),
            Case(
                "no tensors",
                BUNDLE,
                "shared bundle FOLDER/bundle/shared_bundle: expected contents with the hash ..., as "
                "bundle.json says, got ...; files were changed or damaged: copy the bundle again, or "
                "have its run write it again",
                "bundle",
                remove(SHARED),
            ),
            Case(
                "a header of 2^63 bytes",
                BUNDLE,
                "shared bundle FOLDER/bundle/shared_bundle: expected readable files, got ...; copy the "
                "bundle again, or have its run write it again",
                "bundle",
                put(SHARED, b"\xff" * 7 + b"\x7f"),
            ),
            Case(
                "a setting too many",
                BUNDLE,
                "shared bundle FOLDER/bundle/shared_bundle: expected the settings of a bundle, got "
                "'colour' as well; copy the bundle again, or have its run write it again",
                "bundle",
                resigned(colour="red"),
            ),
            Case(
                "a setting too few",
                BUNDLE,
                "shared bundle FOLDER/bundle/shared_bundle, field: expected an object, got none; copy "
                "the bundle again, or have its run write it again",
                "bundle",
                resigned(field=...),
            ),
            Case(
                "settings of the field as text",
                BUNDLE,
                "shared bundle FOLDER/bundle/shared_bundle, field: expected an object, got 'deep'; copy "
                "the bundle again, or have its run write it again",
                "bundle",
                resigned(field="deep"),
            ),
            Case(
                "an unknown setting of the field",
                START,
                "shared bundle: expected settings of this version's tri-plane field, got depth as well; "
                "update this package",
                "bundle scene",
                field(depth=3),
            ),
            Case(
                "a resolution of 10^9",
                BUNDLE,
                "shared bundle FOLDER/bundle/shared_bundle, field, resolution: expected a whole number "
                "from 1 to 8192, got 1000000000; copy the bundle again, or have its run write it again",
                "bundle",
                field(resolution=10**9),
            ),
            Case(
                "a resolution below zero",
                BUNDLE,
                "shared bundle FOLDER/bundle/shared_bundle, field, resolution: expected a whole number "
                "from 1 to 8192, got -8; copy the bundle again, or have its run write it again",
                "bundle",
                field(resolution=-8),
            ),
            Case(
                "a width that is text",
                BUNDLE,
                "shared bundle FOLDER/bundle/shared_bundle, field, hidden_width: expected a whole number "
                "from 1 to 4096, got 'wide'; copy the bundle again, or have its run write it again",
                "bundle",
                field(hidden_width="wide"),
            ),
            Case(
                "other base planes than the settings say",
                START,
                "shared bundle FOLDER/bundle/shared_bundle, field.base_planes: expected [5, 3, 3, 8, 8], "
                "got [2, 3, 3, 8, 8]; copy the bundle again, or have its run write it again",
                "bundle scene",
                field(num_base_planes=5),
            ),
            Case(
                "a box upside down",
                BUNDLE,
                "shared bundle FOLDER/bundle/shared_bundle, aabb: expected two corners, the lower one "
                "first, got [[1, 1, 1], [-1, -1, -1]]; copy the bundle again, or have its run write it "
                "again",
                "bundle",
                resigned(aabb=[[1, 1, 1], [-1, -1, -1]]),
            ),
            Case(
                "a box of words",
                BUNDLE,
                "shared bundle FOLDER/bundle/shared_bundle, aabb: expected two corners, the lower one "
                "first, got 'unit'; copy the bundle again, or have its run write it again",
                "bundle",
                resigned(aabb="unit"),
            ),
            Case(
                "a colour of two numbers",
                BUNDLE,
                "shared bundle FOLDER/bundle/shared_bundle, background_color: expected three numbers in "
                "[0, 1], got [1.0, 1.0]; copy the bundle again, or have its run write it again",
                "bundle",
                resigned(background_color=[1.0, 1.0]),
            ),
            Case(
                "an unknown normaliser",
                BUNDLE,
                "shared bundle FOLDER/bundle/shared_bundle, normalizer: expected mean-std, tanh or none, "
                "got 'median'; copy the bundle again, or have its run write it again",
                "bundle",
                resigned(normalizer="median"),
            ),
            Case(
                "facts that are a list",
                BUNDLE,
                "shared bundle FOLDER/bundle/shared_bundle, facts: expected an object, its seconds a "
                "number, got [1, 2]; copy the bundle again, or have its run write it again",
                "bundle",
                resigned(facts=[1, 2]),
            ),
            Case(
                "an autoencoder of other channels",
                START,
                "shared bundle FOLDER/bundle/shared_bundle, normalizer.mean: expected [7], got [4]; copy "
                "the bundle again, or have its run write it again",
                "bundle scene",
                inner(channels=7),
            ),
            Case(
                "an autoencoder that is not there",
                START,
                "autoencoder source: expected bundled, bundled-standard, bundled-f8, identity, a folder "
                "or a Hub id (owner/name), got 'FOLDER/bundle/shared_bundle/autoencoder', which is no "
                "folder; check the path",
                "bundle scene",
                both(drop_autoencoder, resigned()),
            ),
            Case(
                "tensors of the field that lack one",
                START,
                "shared bundle FOLDER/bundle/shared_bundle, field.base_planes: expected [2, 3, 3, 8, 8], "
                "got none; copy the bundle again, or have its run write it again",
                "bundle scene",
                tensors(lambda t: t.pop("field.base_planes")),
            ),
            Case(
                "no normaliser",
                START,
                "shared bundle FOLDER/bundle/shared_bundle, normalizer.mean: expected [4], got none; "
                "copy the bundle again, or have its run write it again",
                "bundle scene",
                tensors(lambda t: t.pop("normalizer.mean")),
            ),
            Case(
                "NaN among the tensors",
                BUNDLE,
                "shared bundle FOLDER/bundle/shared_bundle, background: expected finite numbers, got "
                "others; copy the bundle again, or have its run write it again",
                "bundle",
                tensors(lambda t: t["background"].fill_(float("nan"))),
            ),
            Case(
                "a decoder that lacks a layer",
                START,
                "shared bundle FOLDER/bundle/shared_bundle: expected a decoder of its autoencoder, got "
                "another: expected ... tensors by the decoder's names, got ...; copy the bundle again, "
                "or have its run write it again",
                "bundle scene",
                tensors(lambda t: t.pop(next(name for name in sorted(t) if name.startswith("decoder.")))),
            ),
            Case(
                "a decoder of another autoencoder",
                BUNDLE,
                "shared bundle FOLDER/bundle/shared_bundle: expected a decoder of its autoencoder, got "
                "another: Error(s) in loading state_dict for DiffusersAutoencoder:\n\tsize mismatch for "
                "vae.decoder.conv_in.bias: copying a param with shape torch.Size([3, 3]) from "
                "checkpoint, the shape in current model is torch.Size([4]).; copy the bundle again, or "
                "have its run write it again",
                "bundle",
                tensors(wider_decoder),
            ),
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
        "[Scene files](scene_files.md) come from strangers: sizes, types and shapes are checked before memory is "
        "taken.",
        [
            Case(
                "nothing there",
                "lns.load('FOLDER/none.safetensors')",
                "FOLDER/none.safetensors: expected a run, scene files, an archive of them or a Hub id "
                "(owner/name), got nothing there; check the path",
            ),
            Case(
                "a folder without scene files",
                "lns.load('FOLDER/scene')",
                "FOLDER/scene: expected a run (config.yml) or scene files (NAME.safetensors), got "
                "neither; check the path",
                "scene",
            ),
            Case(
                "a file of another kind",
                "lns.load('FOLDER/path.json')",
                "FOLDER/path.json: expected a run's config.yml, a scene file (.safetensors) or an "
                "archive (.zip), got another file; name one of these",
                "path.json",
            ),
            Case(
                "a pipe in the place of a file",
                PACK,
                "FOLDER/files/a.safetensors: expected a regular file, got a pipe; put the file itself there",
                "files",
                pipe(SCENE),
            ),
            Case(
                "facts that nobody can count with",
                PACK,
                "FOLDER/files/a.safetensors, facts: expected numbers up to 1e+30, got 1e+300; leave them out",
                "files",
                signed(facts={"psnr": 1e300}),
            ),
            Case(
                "an empty file",
                PACK,
                "FOLDER/files/a.safetensors: expected a scene file, got a header of 0 bytes; name one that "
                "lns export-scenes wrote",
                "files",
                put(SCENE, b""),
            ),
            Case(
                "a file that ends early",
                PACK,
                "FOLDER/files/a.safetensors: expected tensors as its header says, got '...'; copy the file again",
                "files",
                cut(SCENE, 0.9),
            ),
            Case(
                "a changed byte",
                PACK,
                "FOLDER/files/a.safetensors: expected contents with the SHA-256 '...', got others; copy the file again",
                "files",
                flip(SCENE, 0.9),
            ),
            Case(
                "a header of 2^63 bytes",
                PACK,
                "FOLDER/files/a.safetensors: expected a scene file, got a header of 9223372036854775807 "
                "bytes; name one that lns export-scenes wrote",
                "files",
                put(SCENE, b"\xff" * 7 + b"\x7f"),
            ),
            Case(
                "a header that is no JSON",
                PACK,
                "FOLDER/files/a.safetensors: expected JSON with finite numbers, got '...'; copy the file again",
                "files",
                flip(SCENE, 0.02),
            ),
            Case(
                "a header that is a list",
                PACK,
                "FOLDER/files/a.safetensors: expected a JSON object, got list; copy the file again",
                "files",
                header(SCENE, lambda h: []),
            ),
            Case(
                "a safetensors file of something else",
                PACK,
                "FOLDER/files/a.safetensors: expected a scene file, got a safetensors file of another "
                "kind; name one that lns export-scenes wrote",
                "files",
                header(SCENE, lambda h: h.update(nothing)),
            ),
            Case(
                "an unknown type",
                PACK,
                "FOLDER/files/a.safetensors: expected tensors as its header says, got '...'; copy the file again",
                "files",
                header(SCENE, lambda h: h["micro_planes"].update(dtype="I64")),
            ),
            Case(
                "another format",
                PACK,
                "FOLDER/files/a.safetensors: expected the format scene-v1, got 'scene-v9'; update this package",
                "files",
                said(lambda meta: meta.update(format="scene-v9")),
            ),
            Case(
                "an entry too few",
                PACK,
                "FOLDER/files/a.safetensors: expected the entries format, name, bundle, precision, "
                "facts, sha256, got bundle, format, name, precision, sha256; copy the file again",
                "files",
                said(lambda meta: meta.pop("facts")),
            ),
            Case(
                "another name than was signed",
                PACK,
                "FOLDER/files/a.safetensors: expected contents with the SHA-256 '...', got others; copy the file again",
                "files",
                said(lambda meta: meta.update(name="c")),
            ),
            Case(
                "a name that leads out of the folder",
                PACK,
                "FOLDER/files/a.safetensors: scene name: expected 1 to 200 bytes of printable "
                "characters, none of /\\:*?\"<>| and no dot or blank at an end, got '../../etc/cron'; rename "
                "the scene",
                "files",
                signed(name="../../etc/cron"),
            ),
            Case(
                "a name with a terminal's commands",
                PACK,
                "FOLDER/files/a.safetensors: scene name: expected 1 to 200 bytes of printable "
                "characters, none of /\\:*?\"<>| and no dot or blank at an end, got '\\x1b[2Jcar'; rename the "
                "scene",
                "files",
                signed(name="\x1b[2Jcar"),
            ),
            Case(
                "two scenes of one name",
                PACK,
                "scenes: expected each scene once, got 'b' twice; leave one file out",
                "files",
                signed(name="b"),
            ),
            Case(
                "scenes of two bundles",
                "lns pack-scenes FOLDER/files FOLDER/other.safetensors --output FOLDER/o.zip",
                "scenes: expected scenes of one bundle, got some of ... and some of ...; pack those of "
                "each by themselves",
                "files other.safetensors",
            ),
            Case(
                "scenes of another bundle",
                "lns.load('FOLDER/other.safetensors', bundle='FOLDER/bundle')",
                "FOLDER/other.safetensors: expected a scene of the shared bundle ..., got one of ...; "
                "name the bundle that it was fitted against",
                "other.safetensors bundle",
            ),
            Case(
                "no bundle beside them",
                "lns.load('FOLDER/files')",
                "FOLDER/files: expected the shared bundle ... of scene 'a' beside it, got none with that "
                "hash; name the bundle: a run, its folder or a Hub id",
                "files",
            ),
            Case(
                "cameras of 10^6 pixels",
                SCENES,
                "scene 'a': expected height and width up to 4096, fx, fy and radius, all positive, as "
                "cameras, got {'height': 1000000, 'width': 8}; write the scene file again without them",
                "files bundle",
                signed(facts={"cameras": {"height": 10**6, "width": 8}}),
            ),
            Case(
                "cameras that are words",
                SCENES,
                "scene 'a': expected height and width up to 4096, fx, fy and radius, all positive, as "
                "cameras, got 'near'; write the scene file again without them",
                "files bundle",
                signed(facts={"cameras": "near"}),
            ),
            Case(
                "an unknown scene",
                "lns import-scenes FOLDER/files --bundle FOLDER/bundle --output FOLDER/out --scenes c",
                "scenes: expected scenes of FOLDER/files, such as a, b, got 'c'; correct the name",
                "files bundle",
            ),
        ],
    )


def index(*names, **values):
    return json.dumps({"format": "scene-archive-v1", "bundle": "ab", "scenes": list(names), **values}).encode()


def archives() -> Group:
    scene = {"a.safetensors": None}
    return Group(
        "Archives",
        "Nothing is unpacked to the disk, and nothing larger than the archive itself into memory.",
        [
            Case(
                "nothing there",
                "lns pack-scenes FOLDER/none.zip --output FOLDER/out",
                "FOLDER/none.zip: expected a file, got nothing there; check the path",
            ),
            Case(
                "no zip",
                ARCHIVE,
                "FOLDER/files.zip: expected an archive of scenes, got '...'; copy the file again",
                "files.zip",
                put("files.zip", b"PK"),
            ),
            Case(
                "a zip that ends early",
                ARCHIVE,
                "FOLDER/files.zip: expected an archive of scenes, got '...'; copy the file again",
                "files.zip",
                cut("files.zip"),
            ),
            Case(
                "a changed byte of a scene",
                ARCHIVE,
                "FOLDER/files.zip, a.safetensors: expected a readable member, got '...'; copy the file again",
                "files.zip",
                flip("files.zip", 0.2),
            ),
            Case(
                "an empty zip",
                ARCHIVE,
                "FOLDER/files.zip: expected index.json and scenes, got 0 members and no index.json; name "
                "an archive that lns export-scenes wrote",
                "files",
                zipped({}),
            ),
            Case(
                "no index",
                ARCHIVE,
                "FOLDER/files.zip: expected index.json and scenes, got 1 members and no index.json; name "
                "an archive that lns export-scenes wrote",
                "files",
                zipped(scene),
            ),
            Case(
                "the index alone",
                ARCHIVE,
                "FOLDER/files.zip: expected index.json and scenes, got the index alone; name an archive "
                "that lns export-scenes wrote",
                "files",
                zipped({"index.json": index()}),
            ),
            Case(
                "an index that is no JSON",
                ARCHIVE,
                "FOLDER/files.zip, index.json: expected JSON with finite numbers, got '...'; copy the file again",
                "files",
                zipped({**scene, "index.json": b"{"}),
            ),
            Case(
                "an index of other scenes",
                ARCHIVE,
                "FOLDER/files.zip: expected an index of its 1 scenes, got another list; write the archive again",
                "files",
                zipped({**scene, "index.json": index("b")}),
            ),
            Case(
                "an index of another format",
                ARCHIVE,
                "FOLDER/files.zip: expected the format scene-archive-v1, got 'v9'; update this package",
                "files",
                zipped({**scene, "index.json": index("a", format="v9")}),
            ),
            Case(
                "a path that leads out",
                ARCHIVE,
                "FOLDER/files.zip: scene name: expected 1 to 200 bytes of printable characters, none of "
                "/\\:*?\"<>| and no dot or blank at an end, got '../a'; rename the scene",
                "files",
                zipped({"../a.safetensors": b"", "index.json": index("../a")}),
            ),
            Case(
                "an absolute path",
                ARCHIVE,
                "FOLDER/files.zip: scene name: expected 1 to 200 bytes of printable characters, none of "
                "/\\:*?\"<>| and no dot or blank at an end, got '/etc/a'; rename the scene",
                "files",
                zipped({"/etc/a.safetensors": b"", "index.json": index("/etc/a")}),
            ),
            Case(
                "a program beside the scenes",
                ARCHIVE,
                "FOLDER/files.zip: expected index.json and NAME.safetensors alone, got 'run.sh'; leave it out",
                "files",
                zipped({**scene, "run.sh": b"", "index.json": index("a")}),
            ),
            Case(
                "members that unfold (a zip bomb)",
                ARCHIVE,
                "FOLDER/files.zip: expected members as they are, got 'a.safetensors' packed or "
                "encrypted; zip them with -0",
                "files",
                zipped({"a.safetensors": b"\0" * 10_000_000, "index.json": index("a")}, zipfile.ZIP_DEFLATED),
            ),
            Case(
                "a scene of another name",
                ARCHIVE,
                "FOLDER/files.zip, c.safetensors: expected the scene 'c', got 'a'; write the archive again",
                "files",
                both(zipped({"c.safetensors": b"", "index.json": index("c")}), misnamed),
            ),
        ],
    )


def misnamed(folder):
    data = (folder / "files" / "a.safetensors").read_bytes()
    zipped({"c.safetensors": data, "index.json": index("c")})(folder)


def others() -> Group:
    decode = "lns decode-latents FOLDER/latents.safetensors --autoencoder FOLDER/vae --output FOLDER/out"
    latents = "latents.safetensors"
    render = "lns render-meshes FOLDER/meshes --output FOLDER/out --workers 1"
    path = "lns.camera_path('FOLDER/path.json')"
    return Group(
        "Latents, camera paths, meshes",
        "Files of `lns render-latents`, of the viewer's Render panel, and meshes for `lns render-meshes`.",
        [
            Case(
                "latents that are not there",
                decode,
                "FOLDER/latents.safetensors: expected a file, got nothing there; check the path",
            ),
            Case(
                "no safetensors file",
                decode,
                "FOLDER/latents.safetensors: expected a file of latents, got '...'; name a .safetensors "
                "file with `latents`",
                latents,
                put(latents, b"latents"),
            ),
            Case(
                "latents that end early",
                decode,
                "FOLDER/latents.safetensors: expected a file of latents, got '...'; name a .safetensors "
                "file with `latents`",
                latents,
                cut(latents, 0.9),
            ),
            Case(
                "a file without latents",
                "lns decode-latents FOLDER/a.safetensors --autoencoder bundled --output FOLDER/out",
                "FOLDER/a.safetensors: expected `latents` [n, C, h, w], got none; name a file of lns "
                "render-latents, or one with latents as diffusers has them",
                "files",
                rename("files/a.safetensors", "a.safetensors"),
            ),
            Case(
                "latents of one number",
                decode,
                "FOLDER/latents.safetensors: expected `latents` [n, C, h, w], got []; name a file of lns "
                "render-latents, or one with latents as diffusers has them",
                latents,
                lone_number,
            ),
            Case(
                "latents with NaN",
                decode,
                "FOLDER/latents.safetensors: expected finite latents, got NaN or infinity; repair what edited them",
                latents,
                nan_latents,
            ),
            Case(
                "latents of another autoencoder",
                decode.replace("FOLDER/vae", "bundled"),
                "latents: expected [n, 16, h, w], got [1, 99, 2, 2]; take the autoencoder that they come from",
                f"{latents}",
                wide_latents,
            ),
            Case(
                "metadata of another format",
                decode,
                "FOLDER/latents.safetensors: expected the format latents-v1, got 'latents-v9'; update this package",
                latents,
                said_of_latents(format="latents-v9"),
            ),
            Case(
                "a height of 0",
                decode,
                "FOLDER/latents.safetensors: expected metadata of lns render-latents, got others for "
                "height; write the file again",
                latents,
                said_of_latents(height=0),
            ),
            Case(
                "a height that does not fit",
                decode,
                "latents: expected pictures of 5 to 8 x 5 to 8 pixels, got 500 x 8; give the size that was encoded",
                f"{latents} vae",
                said_of_latents(height=500),
            ),
            Case(
                "a box of words",
                decode,
                "FOLDER/latents.safetensors: expected metadata of lns render-latents, got others for "
                "box; write the file again",
                latents,
                said_of_latents(box="unit"),
            ),
            Case(
                "no camera path",
                "lns.camera_path('FOLDER/none.json')",
                "FOLDER/none.json: expected a file, got nothing there; check the path",
            ),
            Case(
                "a camera path that is a list",
                path,
                "FOLDER/path.json: expected a JSON object, got list; name a JSON file that the viewer's "
                "Render panel wrote",
                breaks=write("path.json", "[]"),
            ),
            Case(
                "a camera path without cameras",
                path,
                "FOLDER/path.json: expected a camera path of the viewer, got ...; name a JSON file that "
                "the viewer's Render panel wrote",
                "path.json",
                entries("path.json", camera_path=[]),
            ),
            Case(
                "a camera path of 10^6 pixels",
                path,
                "FOLDER/path.json: expected finite cameras of 1 to 4096 pixels a side, got others; name "
                "a JSON file that the viewer's Render panel wrote",
                "path.json",
                entries("path.json", render_height=10**6),
            ),
            Case(
                "a camera path with words for numbers",
                path,
                "FOLDER/path.json: expected a camera path of the viewer, got ...; name a JSON file that "
                "the viewer's Render panel wrote",
                "path.json",
                edit("path.json", lambda p: p["camera_path"][0].update(fov="wide")),
            ),
            Case(
                "a camera path of brackets without end",
                path,
                "FOLDER/path.json: expected JSON with finite numbers, got brackets without end; name a "
                "JSON file that the viewer's Render panel wrote",
                breaks=put("path.json", b"[" * 100_000),
            ),
            Case(
                "no meshes",
                render,
                "FOLDER/meshes: expected mesh files (.glb .gltf .obj .ply .stl .off), got none; convert "
                "yours to one of these",
                breaks=lambda folder: (folder / "meshes").mkdir(),
            ),
            Case(
                "a mesh that is none",
                render,
                "FOLDER/meshes/box.obj: expected a mesh with faces, got none; export it with faces, not as points",
                "meshes",
                write("meshes/box.obj", "f 1 2 3\n"),
            ),
            Case(
                "a mesh without faces",
                render,
                "FOLDER/meshes/box.obj: expected a mesh with faces, got none; export it with faces, not as points",
                "meshes",
                write("meshes/box.obj", "v 0 0 0\nv 1 1 1\n"),
            ),
            Case(
                "a mesh of two dimensions",
                render,
                "FOLDER/meshes/box.obj: expected a readable mesh, got ...; export it again",
                "meshes",
                write("meshes/box.obj", "v 0 0\nv 1 0\nv 0 1\nf 1 2 3\n"),
            ),
            Case(
                "a mesh with NaN",
                render,
                "FOLDER/meshes/box.obj: expected a mesh with faces, got none; export it with faces, not as points",
                "meshes",
                write("meshes/box.obj", "v nan 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n"),
            ),
            Case(
                "a mesh of another format",
                render,
                "FOLDER/meshes/box.glb: expected a readable mesh, got ...; export it again",
                "meshes",
                both(remove("meshes/box.obj"), put("meshes/box.glb", b"glTF\2\0\0\0")),
            ),
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
