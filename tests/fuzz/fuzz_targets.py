"""What is fuzzed: files that begin right, are changed at random, and are read as a user's would be.

Whatever is in a file, reading it gives a result or an error of ours: one of `ERRORS` that says what was expected.
Anything else is a finding: another exception, a hang, or memory beyond `MEMORY`.
"""

import json
import math
import resource
import signal
import zipfile
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Callable, Dict, Iterator, List, Mapping, NamedTuple, Tuple

import torch
from hypothesis import strategies as st
from safetensors.torch import load, save
from scene_folders import write_srn
from tiny import camera_of, camera_path_of, latent_model_of, pipeline_of, prepared, save_tiny, small_nerf, write_ball

from latent_nerfstudio.api.cameras import camera_path
from latent_nerfstudio.api.latent_files import LatentFile, read_latents, write_latents
from latent_nerfstudio.data.scenes_dataparser import ScenesDataParserConfig
from latent_nerfstudio.engine.checkpoints import load_state
from latent_nerfstudio.engine.runs import Run, read_summary
from latent_nerfstudio.engine.summary import read_results
from latent_nerfstudio.latent_space.autoencoder import AutoencoderConfig
from latent_nerfstudio.latent_space.published import autoencoder_state, build_autoencoder, infer_config, read_checkpoint
from latent_nerfstudio.meshes.surface import load_surface
from latent_nerfstudio.models.bundle_folder import hash_folder
from latent_nerfstudio.models.bundle_writing import write_shared_bundle
from latent_nerfstudio.models.shared_bundle import read_shared_bundle
from latent_nerfstudio.pipelines.saved_state import seal
from latent_nerfstudio.reports.run_report import inventory_report, run_report, summary_line
from latent_nerfstudio.scene_files.archive import read_archive, write_archive
from latent_nerfstudio.scene_files.scene_file import SceneFile, digest, pack_scene, read_scene_file

ERRORS = (ValueError, FileNotFoundError)
"""Ours, which `lns` prints in one line."""

SECONDS = 20
"""After this a call counts as hanging."""

MEMORY = 1 << 30
"""Bytes that a call may take beyond what the process has."""

ODD = [*(None, True, -1, 0, 1, 3, 2**31, 2**63, 10**30, -0.0, 1e308, 1e-320, math.nan, math.inf), *("", "x", "..", "/")]
"""JSON values that stand where another is expected; `json` writes and reads NaN and Infinity."""

ODD_TEXTS = ["../../x", "a\x00b", "\ud800", "x" * 5000, "con", "é", "a/b", "1e999", "[[[["]
"""Likewise, longer."""

NAMES = ["frames", "w", "h", "fl_x", "fl_y", "camera_angle_x", "k1", "aabb", "aabb_scale", "camera_model", "mask_path"]
MORE_NAMES = ["train_filenames", "applied_transform", "applied_scale", "distortion_params", "is_fisheye", "x_fov"]

Tree = Any
"""A JSON value."""

values = st.one_of(
    st.sampled_from([*ODD, *ODD_TEXTS]),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.recursive(
        st.sampled_from(ODD),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    ),
)
"""What a value is replaced by."""

Change = Tuple[str, int, str, Any]
"""Kind, place, name and value."""

changes = st.tuples(
    st.sampled_from(["replace", "replace", "remove", "add", "double", "nest"]),
    st.integers(0, 10**6),
    st.sampled_from([*NAMES, *MORE_NAMES]) | st.text(max_size=4),
    values,
)

damages = st.lists(
    st.tuples(
        st.sampled_from(["set", "cut", "insert", "repeat", "swap"]), st.integers(0, 10**6), st.binary(max_size=9)
    ),
    min_size=1,
    max_size=4,
)
"""Changes of bytes."""


def places(tree: Tree) -> List[Tuple[Any, Any]]:
    """Every container of a JSON value with each of its keys."""
    keys = tree.keys() if isinstance(tree, dict) else range(len(tree)) if isinstance(tree, list) else ()
    own = [(tree, key) for key in keys]
    return own + [place for key in keys for place in places(tree[key])]


def changed(tree: Tree, change: Change) -> Tree:
    kind, index, name, value = change
    found = places(tree)
    if not found:
        return value
    owner, key = found[index % len(found)]
    if kind == "replace":
        owner[key] = value
    elif kind == "remove":
        del owner[key]
    elif kind == "add" and isinstance(owner, dict):
        owner[name] = value
    elif kind == "double" and isinstance(owner, list):
        owner.append(owner[key])
    elif kind == "nest":
        owner[key] = [owner[key]]
    return tree


def damaged(data: bytes, damage: List[Tuple[str, int, bytes]]) -> bytes:
    for kind, index, new in damage:
        place = index % (len(data) + 1)
        if kind == "cut":
            data = data[:place]
        elif kind == "insert":
            data = data[:place] + new + data[place:]
        elif kind == "repeat":
            data = data[:place] + data[max(0, place - 40) :]
        elif kind == "swap":
            data = data[place:] + data[:place]
        else:
            data = data[:place] + new + data[place + len(new) :]
    return data


class Hang(BaseException):
    """A call took too long."""


@contextmanager
def bounded() -> Iterator[None]:
    """Ends a call that hangs, and refuses it more memory than `MEMORY`."""

    def late(*_: Any) -> None:
        raise Hang(f"no answer within {SECONDS} s")

    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    limits = resource.getrlimit(resource.RLIMIT_AS)
    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, SECONDS, 1)  # again, since what is raised in a finaliser is lost
    resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def outcome(call: Callable[[], Any]) -> str:
    """`read` or `refused`.

    Raises:
        BaseException: a finding.
    """
    with bounded():
        try:
            call()
        except ERRORS as error:
            assert "expected " in str(error) and "; " in str(error), f"no words of ours: {error!r}"
            return "refused"
    return "read"


class Right(NamedTuple):
    """A file as it should be, and its reader."""

    path: Path
    """Where it lies."""
    content: Any
    """What it holds: bytes, or a JSON value."""
    read: Callable[[Path], Any]
    """Reads it as a user's would be."""


def altered(tree: Tree, several: List[Change]) -> Tree:
    tree = json.loads(json.dumps(tree))
    for change in several:
        tree = changed(tree, change)
    return tree


def dumped(tree: Tree) -> bytes:
    """JSON, with what UTF-8 does not have as escapes."""
    return json.dumps(tree).encode()


def use_json(right: Right, several: List[Change]) -> Any:
    right.path.write_bytes(dumped(altered(right.content, several)))
    return right.read(right.path)


def use_bytes(right: Right, damage: Any) -> Any:
    """Bytes that are damaged, or others in their place."""
    content = right.content if isinstance(right.content, bytes) else dumped(right.content)
    right.path.write_bytes(damage if isinstance(damage, bytes) else damaged(content, damage))
    return right.read(right.path)


def parse(folder: Path) -> Any:
    """What a run reads of a scene before it trains."""
    return ScenesDataParserConfig(data=folder).setup().get_dataparser_outputs("train")


def make_transforms(folder: Path) -> Right:
    path = folder / "scene" / "transforms.json"
    write_ball(path.parent, views=3, width=8, height=8)
    return Right(path, json.loads(path.read_text()), lambda path: parse(path.parent))


def make_step(folder: Path) -> Right:
    """What is read is right as well: finite cameras in a box, and a step of training with finite losses."""

    def step(path: Path) -> None:
        outputs = parse(path.parent)
        cameras, box = outputs.cameras, outputs.scene_box.aabb
        for values in (cameras.camera_to_worlds, cameras.fx, cameras.fy, cameras.cx, cameras.cy, box):
            assert bool(values.isfinite().all())
        assert bool((cameras.fx > 0).all() and (cameras.fy > 0).all() and (box[0] < box[1]).all())
        losses = prepared(pipeline_of(path.parent)).train().get_train_loss_dict(0)[2]
        assert all(bool(loss.isfinite().all()) for loss in losses.values())

    return make_transforms(folder)._replace(read=step)


def make_blender(folder: Path) -> Right:
    right = make_transforms(folder)
    path = right.path.rename(right.path.with_name("transforms_train.json"))
    return Right(path, {"camera_angle_x": 0.9, "frames": right.content["frames"]}, right.read)


def srn(name: str) -> Callable[[Path], Right]:
    """Makes a scene in the SRN layout, of which a file is changed."""

    def make(folder: Path) -> Right:
        write_srn(folder / "scene", size=8)
        path = folder / "scene" / name
        return Right(path, path.read_bytes(), lambda _: parse(folder / "scene"))

    return make


def make_scene_file(folder: Path) -> Right:
    return Right(folder / "scene.safetensors", pack_scene(scene()), read_scene_file)


def use_scene_bytes(right: Right, change: Tuple[Any, Any]) -> Any:
    return use_bytes(right._replace(content=pack_scene(scene(), change[0])), change[1])


def use_scene_header(right: Right, several: List[Change]) -> Any:
    """Header and metadata as a hostile writer would make them, with lengths and the hash of the contents right."""
    write_header(right.path, right.content, "scene", several, lambda meta: resealed(meta, right.content))
    return right.read(right.path)


def make_camera_path(folder: Path) -> Right:
    return Right(folder / "path.json", camera_path_of(camera_of(8, 8, count=2), 8, 8), camera_path)


def make_mesh(folder: Path) -> Right:
    corners = "v 0 0 0\nv 1 0 0\nv 0 1 0\nv 0 0 1\nvt 0 0\nvt 1 0\nvt 0 1\n"
    mesh = f"{corners}f 1/1 2/2 3/3\nf 1/1 2/2 4/3\n".encode()
    return Right(folder / "box.obj", mesh, lambda path: load_surface(path).normalized())


def make_results(folder: Path) -> Right:
    content = {"experiment_name": "a", "results": {"psnr": 20.0, "a/psnr": 20.5, "a/ssim": 0.9, "psnr_std": math.nan}}
    return Right(folder / "eval.json", content, lambda path: read_results(path, folder))


def write_header(path: Path, data: bytes, entry: str, several: List[Change], seal: Callable[[Tree], Tree]) -> None:
    """Writes a safetensors file whose header and whose metadata of an entry are changed, with the right length."""
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    tree = altered({"meta": json.loads(header.pop("__metadata__")[entry]), "tensors": header}, several)
    meta, tensors = (tree.get("meta"), tree.get("tensors")) if isinstance(tree, dict) else (tree, {})
    metadata = {"__metadata__": {entry: json.dumps(seal(meta))}}
    text = dumped({**metadata, **(tensors if isinstance(tensors, dict) else {})})
    path.write_bytes(len(text).to_bytes(8, "little") + text + data[8 + length :])


words = st.lists(
    st.lists(
        st.sampled_from(["nan", "inf", "1e400", "-1", "0", "1_0", "0x1", "8", "1e-320", "9" * 5000, "x", "\x00"])
        | st.floats().map(str),
        max_size=5,
    ).map(" ".join),
    max_size=7,
).map(lambda lines: "\n".join(lines).encode())
"""Texts of numbers."""


def scene(name: str = "red") -> SceneFile:
    random = torch.Generator().manual_seed(0)
    planes, weights = torch.randn(3, 4, 8, 8, generator=random), torch.randn(2, generator=random)
    return SceneFile(name, "ab12", planes, weights, {"psnr": 20.0, "cameras": {"width": 8}})


def resealed(meta: Tree, data: bytes) -> Tree:
    """Metadata with the hash of what they now say and of the tensors of a right file."""
    if not isinstance(meta, dict):
        return meta
    tensors = load(data)
    try:
        return {**meta, "sha256": digest({k: v for k, v in meta.items() if k != "sha256"}, tensors)}
    except (ValueError, RecursionError):
        return meta


members = st.lists(
    st.tuples(
        st.sampled_from(["red.safetensors", "../red.safetensors", "/x.safetensors", "index.json", "a/b", "a\\b", ""])
        | st.text(max_size=6),
        st.sampled_from(["scene", "index", "zeros"]) | st.binary(max_size=60),
        st.booleans(),
    ),
    max_size=4,
)


def make_archive(folder: Path) -> Right:
    path = folder / "in" / "folders" / "scenes.zip"
    write_archive(path, [scene("red"), scene("blue")])
    return Right(path, path.read_bytes(), lambda path: list(read_archive(path)))


def use_archive_members(right: Right, several: List[Tuple[str, Any, bool]]) -> Any:
    """Members of any name, packed or not, and an index that names them all."""
    names = [name.removesuffix(".safetensors") for name, _, _ in several if name != "index.json"]
    index = json.dumps({"format": "scene-archive-v1", "bundle": "ab12", "scenes": names}).encode()
    contents = {"scene": pack_scene(scene()), "index": index, "zeros": bytes(1 << 20)}
    with zipfile.ZipFile(right.path, "w") as archive:
        for name, content, packed in [*several, ("index.json", "index", False)]:
            kind = zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED
            data = contents[content] if isinstance(content, str) else content
            try:
                archive.writestr(zipfile.ZipInfo(name or "empty"), data, kind)
            except (UnicodeEncodeError, ValueError):  # what no zip can be made of
                continue
    outside = right.path.parents[2]
    before = sorted(outside.rglob("*"))
    try:
        return right.read(right.path)
    finally:
        assert sorted(outside.rglob("*")) == before, "something was unpacked"


def make_bundle(folder: Path) -> Tuple[Path, Tree]:
    model = latent_model_of(nerf=small_nerf(macro_features=3, num_base_planes=2))
    place = write_shared_bundle(folder / "run", model, 1, {})
    return place, json.loads((place / "bundle.json").read_text())


def use_bundle(made: Tuple[Path, Tree], several: List[Change]) -> Any:
    """Settings as a hostile writer would make them, with the right hash; and the model that is built from them."""
    folder, tree = made
    tree = altered(tree, several)
    if isinstance(tree, dict):
        tree["hash"] = hash_folder(folder, tree)
    (folder / "bundle.json").write_bytes(dumped(tree))
    bundle = read_shared_bundle(str(folder))
    return latent_model_of(shared_bundle=str(bundle.folder))


def use_bundle_tensors(made: Tuple[Path, Tree], change: Tuple[int, int, Any]) -> Any:
    """A tensor of another shape, type or number, with the right hash."""
    folder, tree = made
    file = folder / "shared.safetensors"
    right = file.read_bytes()
    tensors = load(right)
    kind, index, number = change
    name = sorted(tensors)[index % len(tensors)]
    value = tensors[name]
    replaced = {
        0: value.flatten()[:1].clone(),
        1: torch.full_like(value, number),
        2: value[None].clone(),
        3: value.to(torch.int32) if kind == 3 else value,
        4: torch.zeros(0),
    }[kind % 5]
    tensors[name] = replaced
    if kind == 5:
        del tensors[name]
    if kind == 6:
        tensors["other"] = value.clone()
    file.write_bytes(save(tensors))
    try:
        (folder / "bundle.json").write_bytes(dumped({**tree, "hash": hash_folder(folder, tree)}))
        return latent_model_of(shared_bundle=str(folder))
    finally:
        file.write_bytes(right)


def make_autoencoder(folder: Path) -> Tuple[Path, Mapping[str, Tree]]:
    save_tiny(folder / "tiny")
    settings = json.loads((folder / "tiny" / "config.json").read_text())
    return folder / "tiny", {"config.json": settings, "latent_space.json": {"mean": [0.0] * 4, "std": [1.0] * 4}}


def use_autoencoder(made: Tuple[Path, Mapping[str, Tree]], change: Tuple[str, List[Change]]) -> Any:
    folder, trees = made
    for name, tree in trees.items():
        (folder / name).write_bytes(dumped(tree))
    (folder / change[0]).write_bytes(dumped(altered(trees[change[0]], change[1])))
    return latent_model_of(folder)


def make_weights(folder: Path) -> Right:
    path = save_tiny(folder / "tiny") / "diffusion_pytorch_model.safetensors"
    return Right(path, path.read_bytes(), lambda path: AutoencoderConfig(source=str(path.parent)).setup())


def make_latents(folder: Path) -> Right:
    path, cameras = folder / "latents.safetensors", camera_of(16, 12, count=2)
    made_by = ("red", "bundled", {"encoder_hash": "ab"})
    write_latents(path, LatentFile(torch.zeros(2, 4, 3, 4), 12, 16, *made_by, cameras=cameras))
    return Right(path, path.read_bytes(), read_latents)


def use_latents_header(right: Right, several: List[Change]) -> Any:
    write_header(right.path, right.content, "latents", several, lambda meta: meta)
    return right.read(right.path)


def make_checkpoint(folder: Path) -> Right:
    path = folder / "vae.pt"
    torch.save({"vae": {"encoder.conv_in.weight": torch.zeros(4, 3, 3, 3), "x": torch.zeros(2)}}, path)

    def read(path: Path) -> Any:
        state = autoencoder_state(read_checkpoint(path), path)
        return build_autoencoder(infer_config(state), state)

    return Right(path, path.read_bytes(), read)


def make_summary(folder: Path) -> Right:
    numbers = {"steps": 3, "seconds": 1.5, "seconds_per_scene": 1.5, "bytes_per_scene": 9, "bytes_shared": 9}
    tree = {"method": "latent-triplane", "scenes": ["a"], "device": "cpu", **numbers}
    manager = SimpleNamespace(data=Path("data"))
    pipeline = SimpleNamespace(datamanager=manager)
    config: Any = SimpleNamespace(method_name="latent-triplane", pipeline=pipeline, output_dir="outputs")

    def read(path: Path) -> Any:
        run = Run(path.with_name("config.yml"), config, read_summary(path))
        report = run_report(run, {"psnr": 20.0, "a/psnr": 20.0})
        return report.costs, summary_line(report)

    return Right(folder / "training.json", tree, read)


def make_status(folder: Path) -> Right:
    row = {"name": "a", "state": "done", "psnr": 20.0, "seconds": 1.5, "steps": 3, "bytes": 100}
    tree = {"counts": {"done": 1}, "shared": {"bytes": 9.0, "seconds": 2.0}, "scenes": [row]}
    return Right(folder / "status.json", tree, lambda path: summary_line(inventory_report(path.parent)))


def make_run_checkpoint(folder: Path) -> Right:
    state: Dict[str, Any] = {"_model.a": torch.arange(6.0), "_model.b": torch.zeros(2, 3)}
    seal(state)
    path = folder / "step-000000003.ckpt"
    torch.save({"step": 3, "pipeline": state, "optimizers": {}}, path)

    def read(path: Path) -> Any:
        state = load_state(path)
        assert torch.equal(state["pipeline"]["_model.a"], torch.arange(6.0)), "damage that nobody saw"

    return Right(path, path.read_bytes(), read)


def make_gltf(folder: Path) -> Right:
    """A textured box with its buffers as text."""
    import trimesh
    from PIL import Image

    box = trimesh.creation.box((1, 2, 3))
    material = trimesh.visual.material.PBRMaterial(baseColorTexture=Image.new("RGB", (4, 4)), alphaMode="BLEND")
    box.visual = trimesh.visual.TextureVisuals(box.vertices[:, :2], material)
    files = trimesh.exchange.gltf.export_gltf(trimesh.Scene(box), embed_buffers=True)
    path = folder / "box.gltf"
    return Right(path, json.loads(files["model.gltf"]), lambda path: load_surface(path).normalized())


several = st.lists(changes, min_size=1, max_size=3)
precisions = st.sampled_from(["float16", "float32", "int8"])
json_names = st.sampled_from(["config.json", "latent_space.json"])
tensor_changes = st.tuples(st.integers(0, 6), st.integers(0, 30), st.sampled_from([math.nan, math.inf, 1e30, 0.0]))

TARGETS: Dict[str, Tuple[Callable[[Path], Any], Any, Callable[[Any, Any], Any]]] = {
    "transforms.json, values": (make_transforms, several, use_json),
    "transforms.json, bytes": (make_transforms, damages, use_bytes),
    "transforms.json, then a step": (make_step, several, use_json),
    "transforms_train.json": (make_blender, several, use_json),
    "intrinsics.txt": (srn("intrinsics.txt"), words | damages, use_bytes),
    "pose file": (srn("pose/000001.txt"), words | damages, use_bytes),
    "picture, bytes": (srn("rgb/000001.png"), damages, use_bytes),
    "scene file, bytes": (make_scene_file, st.tuples(precisions, damages), use_scene_bytes),
    "scene file, header": (make_scene_file, several, use_scene_header),
    "archive, bytes": (make_archive, damages, use_bytes),
    "archive, members": (make_archive, members, use_archive_members),
    "bundle.json, values": (make_bundle, several, use_bundle),
    "shared.safetensors": (make_bundle, tensor_changes, use_bundle_tensors),
    "autoencoder, JSON": (make_autoencoder, st.tuples(json_names, several), use_autoencoder),
    "autoencoder, weights": (make_weights, damages, use_bytes),
    "published checkpoint": (make_checkpoint, damages, use_bytes),
    "latents, bytes": (make_latents, damages, use_bytes),
    "latents, header": (make_latents, several, use_latents_header),
    "camera path": (make_camera_path, several, use_json),
    "training.json": (make_summary, several, use_json),
    "status.json": (make_status, several, use_json),
    "checkpoint, bytes": (make_run_checkpoint, damages, use_bytes),
    "mesh, bytes": (make_mesh, damages, use_bytes),
    "mesh, JSON of glTF": (make_gltf, several, use_json),
    "eval.json": (make_results, several, use_json),
}
"""What writes a right file into an empty folder, once; the strategy of changes; what applies one and reads the file."""
