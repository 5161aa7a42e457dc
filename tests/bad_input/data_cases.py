"""Rows on data: folders, camera files, pictures."""

import struct
import zlib

from breaking import Case, Group, both, cut, edit, entries, frame, pose, put, remove, rename, top, write

TRAIN = "ns-train triplane --data FOLDER/scene"
MANY = "ns-train triplane --data FOLDER/scenes"
SRN = "ns-train triplane --data FOLDER/srn"
BLENDER = "ns-train triplane --data FOLDER/blender"
CAMERAS = "scene/transforms.json"


def png(width: int, height: int) -> bytes:
    """A PNG of one row that says to be of another size."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


def folders() -> Group:
    return Group(
        "Data folders",
        "`--data` takes a scene, or a folder of scenes ([your_data.md](your_data.md)).",
        [
            Case("nothing there", "ns-train triplane --data FOLDER/none", ""),
            Case("an empty folder", TRAIN, "", breaks=lambda folder: (folder / "scene").mkdir()),
            Case("no scene in it", TRAIN, "", breaks=write("scene/notes/readme.txt", "")),
            Case(
                "scenes one folder deeper",
                "ns-train triplane --data FOLDER",
                "",
                "scenes",
                rename("scenes", "in"),
            ),
            Case("a picture instead of a folder", f"{TRAIN}/images/0000.png", "", "scene"),
            Case("a text instead of a folder", f"{TRAIN}/notes.txt", "", "scene", write("scene/notes.txt", "cars")),
            Case("`--scenes` with a name that is not there", f"{MANY} scenes --scenes '[\"aa\"]'", "", "scenes"),
            Case("`--max-scenes 0`", f"{MANY} scenes --max-scenes 0", "", "scenes"),
            Case("`--eval-interval 1`", f"{TRAIN} scenes --eval-interval 1", "", "scene"),
            Case("`--scale-factor 0`", f"{TRAIN} scenes --scale-factor 0.0", "", "scene"),
            Case("`--scene-scale` of infinity", f"{TRAIN} scenes --scene-scale 1e999", "", "scene"),
            Case("`--box` upside down", f"{TRAIN} scenes --box '(1,1,1,0,0,0)'", "", "scene"),
            Case("`--alpha-color` that nobody knows", f"{TRAIN} scenes --alpha-color mauve", "", "scene"),
            Case("`--bounds file` without a box", f"{TRAIN} scenes --bounds file", "", "scene", top(aabb=...)),
            Case(
                "masks for some scenes",
                MANY,
                "",
                "scenes",
                edit(
                    "scenes/a/transforms.json",
                    lambda meta: [f.update(mask_path=f["file_path"]) for f in meta["frames"]] and None,
                ),
            ),
        ],
    )


def camera_files() -> Group:
    nan = float("nan")
    return Group(
        "Camera files",
        "`transforms.json` of Nerfstudio and instant-ngp, `transforms_train.json` of Blender, and `intrinsics.txt` with "
        "`pose/` of SRN.",
        [
            Case("JSON that ends early", TRAIN, "", "scene", cut(CAMERAS)),
            Case("an empty file", TRAIN, "", "scene", put(CAMERAS, b"")),
            Case("no UTF-8", TRAIN, "", "scene", put(CAMERAS, b"\xff\xfe{}")),
            Case("brackets without end", TRAIN, "", "scene", put(CAMERAS, b"[" * 100_000)),
            Case("a number of a million digits", TRAIN, "", "scene", put(CAMERAS, b'{"w": ' + b"9" * 1_000_000 + b"}")),
            Case("a list", TRAIN, "", "scene", put(CAMERAS, b"[]")),
            Case("no frames", TRAIN, "", "scene", top(frames=...)),
            Case("frames that are no list", TRAIN, "", "scene", top(frames={})),
            Case("a frame without a path", TRAIN, "", "scene", frame(1, file_path=...)),
            Case("a path of 100,000 letters", TRAIN, "", "scene", top(frames=[{"file_path": "a" * 100_000}] * 1)),
            Case("a frame twice", TRAIN, "", "scene", edit(CAMERAS, lambda m: m["frames"].append(m["frames"][0]))),
            Case("one view", TRAIN, "", "scene", edit(CAMERAS, lambda m: m.update(frames=m["frames"][:1]))),
            Case("pictures that are not there", TRAIN, "", "scene", rename("scene/images", "scene/elsewhere")),
            Case("no pose", TRAIN, "", "scene", frame(1, transform_matrix=...)),
            Case("a pose of two rows", TRAIN, "", "scene", pose(lambda m: m.__delitem__(slice(2, 4)))),
            Case("a pose of words", TRAIN, "", "scene", frame(1, transform_matrix="identity")),
            Case("a pose with NaN", TRAIN, "", "scene", pose(lambda m: m[0].__setitem__(3, nan))),
            Case("a pose with 1e999", TRAIN, "", "scene", pose(lambda m: m[0].__setitem__(3, float("inf")))),
            Case("a pose with 1e300", TRAIN, "", "scene", pose(lambda m: m[0].__setitem__(3, 1e300))),
            Case(
                "a pose with a scale",
                TRAIN,
                "",
                "scene",
                pose(lambda m: [row.__setitem__(0, 2 * row[0]) for row in m] and None),
            ),
            Case(
                "a mirrored pose",
                TRAIN,
                "",
                "scene",
                pose(lambda m: [row.__setitem__(0, -row[0]) for row in m] and None),
            ),
            Case("no focal length", TRAIN, "", "scene", top(fl_x=..., fl_y=...)),
            Case("fl_y alone", TRAIN, "", "scene", top(fl_x=...)),
            Case("a focal length of 0", TRAIN, "", "scene", top(fl_x=0)),
            Case("a focal length in words", TRAIN, "", "scene", top(fl_x="50mm")),
            Case("a focal length of some frames", TRAIN, "", "scene", both(top(fl_x=...), frame(1, fl_x=8.0))),
            Case("a field of view of 200 degrees", TRAIN, "", "scene", top(fl_x=..., fl_y=..., camera_angle_x=3.5)),
            Case("a principal point of NaN", TRAIN, "", "scene", top(cx=nan)),
            Case("a width of NaN", TRAIN, "", "scene", top(w=nan)),
            Case("an unknown camera model", TRAIN, "", "scene", top(camera_model="BEST")),
            Case("a camera model that is a list", TRAIN, "", "scene", top(camera_model=[])),
            Case("twelve distortion parameters", TRAIN, "", "scene", top(distortion_params=[0.0] * 12)),
            Case("distortion in words", TRAIN, "", "scene", top(k1="none")),
            Case("a box upside down", TRAIN, "", "scene", top(aabb=[[1, 1, 1], [0, 0, 0]])),
            Case("a box of five numbers", TRAIN, "", "scene", top(aabb=[1, 2, 3, 4, 5])),
            Case("aabb_scale of 0", TRAIN, "", "scene", top(aabb=..., aabb_scale=0)),
            Case("applied_scale of 0", TRAIN, "", "scene", top(applied_scale=0)),
            Case("applied_transform of NaN", TRAIN, "", "scene", top(applied_transform=[[nan] * 4] * 3)),
            Case("a split that is a number", TRAIN, "", "scene", top(train_filenames=7)),
            Case("a split that names what is no frame", TRAIN, "", "scene", top(val_filenames=["images/9.png"])),
            Case("a split that names a frame twice", TRAIN, "", "scene", top(val_filenames=["images/0000.png"] * 2)),
            Case(
                "all views held out",
                TRAIN,
                "",
                "scene",
                edit(CAMERAS, lambda m: m.update(val_filenames=[f["file_path"] for f in m["frames"]])),
            ),
            Case(
                "a mask that is not there",
                TRAIN,
                "",
                "scene",
                edit(CAMERAS, lambda m: [f.update(mask_path="m.png") for f in m["frames"]] and None),
            ),
            Case("masks of some frames", TRAIN, "", "scene", frame(1, mask_path="images/0000.png")),
            Case(
                "Blender without transforms_train.json", BLENDER, "", "blender", remove("blender/transforms_train.json")
            ),
            Case(
                "Blender without a field of view",
                BLENDER,
                "",
                "blender",
                entries("blender/transforms_train.json", camera_angle_x=...),
            ),
            Case(
                "Blender with two camera models",
                BLENDER,
                "",
                "blender",
                entries("blender/transforms_test.json", camera_model="OPENCV_FISHEYE"),
            ),
            Case("SRN without intrinsics.txt", SRN, "", "srn", remove("srn/intrinsics.txt")),
            Case("SRN with words in intrinsics.txt", SRN, "", "srn", write("srn/intrinsics.txt", "focal 8\n")),
            Case("SRN with one line in intrinsics.txt", SRN, "", "srn", write("srn/intrinsics.txt", "8 4 4 0\n")),
            Case("SRN with no UTF-8 in intrinsics.txt", SRN, "", "srn", put("srn/intrinsics.txt", b"\xff\xfe8\x00")),
            Case("SRN with an infinite size", SRN, "", "srn", write("srn/intrinsics.txt", "8 4 4 0\n8 inf\n")),
            Case("SRN with a size of half a pixel", SRN, "", "srn", write("srn/intrinsics.txt", "8 4 4 0\n8 0.5\n")),
            Case("SRN with a principal point of NaN", SRN, "", "srn", write("srn/intrinsics.txt", "8 nan 4 0\n8 8\n")),
            Case("SRN without a pose", SRN, "", "srn", remove("srn/pose/1.txt")),
            Case("SRN without poses", SRN, "", "srn", rename("srn/pose", "srn/poses")),
            Case("SRN with a pose of 12 numbers", SRN, "", "srn", write("srn/pose/1.txt", "1 " * 12)),
            Case("SRN with a pose that is no UTF-8", SRN, "", "srn", put("srn/pose/1.txt", b"\xff" * 40)),
        ],
    )


def pictures() -> Group:
    first = "scene/images/0000.png"
    return Group(
        "Pictures",
        "Headers are read before training begins, and the whole picture where its file does not end as it should.",
        [
            Case("a picture that ends early", TRAIN, "", "scene", cut(first)),
            Case("an empty file", TRAIN, "", "scene", put(first, b"")),
            Case("a text named .png", TRAIN, "", "scene", write(first, "no picture")),
            Case(
                "a folder named .png",
                TRAIN,
                "",
                "scene",
                both(
                    remove(first),
                    lambda folder: (folder / first).mkdir(),
                    top(frames=[{"file_path": "images/0000.png"}]),
                ),
            ),
            Case("a picture of another size", TRAIN, "", "scene", put(first, png(9, 9))),
            Case("pixels that are not there", TRAIN, "", "scene", put(first, png(8, 8))),
            Case(
                "a header of 60,000 x 60,000 pixels",
                TRAIN,
                "",
                "scene",
                both(put(first, png(60_000, 60_000)), top(w=..., h=...)),
            ),
            Case("a header without pixels", TRAIN, "", "scene", both(put(first, png(0, 8)), top(w=..., h=...))),
            Case(
                "a mask of another size",
                TRAIN,
                "",
                "scene",
                both(
                    put("scene/m.png", png(4, 4)),
                    edit(CAMERAS, lambda m: [f.update(mask_path="m.png") for f in m["frames"]] and None),
                ),
            ),
            Case(
                "masks that leave nothing",
                TRAIN,
                "",
                "scene",
                both(black_mask, edit(CAMERAS, lambda m: [f.update(mask_path="m.png") for f in m["frames"]] and None)),
            ),
        ],
    )


def black_mask(folder):
    from PIL import Image

    Image.new("L", (8, 8)).save(folder / "scene" / "m.png")


GROUPS = [folders(), camera_files(), pictures()]
