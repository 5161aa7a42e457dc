"""Rows on data: folders, camera files, pictures."""

import struct
import zlib

from breaking import Case, Group, both, cut, edit, entries, frame, picture, pipe, pose, put, remove, rename, top, write

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


masked = edit(CAMERAS, lambda m: [f.update(mask_path="m.png") for f in m["frames"]] and None)

# fmt: off
FOLDERS = Group(
    "Data folders",
    "`--data` takes a scene, or a folder of scenes ([your_data.md](your_data.md)).",
    [
    Case("nothing there", "none: expected a data folder", command="ns-train triplane --data FOLDER/none"),
    Case("an empty folder", "scene: expected a scene with transforms.json", lambda folder: (folder / "scene").mkdir(),
         command=TRAIN, takes=""),
    Case("a picture instead of a folder", "0000.png: expected UTF-8 text", command=f"{TRAIN}/images/0000.png"),
    Case("a text instead of a folder", "notes.txt: expected JSON", write("scene/notes.txt", "cars"),
         command=f"{TRAIN}/notes.txt"),
    Case("a scene of a name that is a drive", "scene name: expected 1 to 200 bytes", rename("scene", "c:scene"),
         command="ns-train triplane --data FOLDER/c:scene", takes="scene"),
    Case("`--scenes` with a name that is not there", "scenes: expected scenes of",
         command=f"{MANY} scenes --scenes '[\"aa\"]'"),
    Case("`--max-scenes 0`", "max_scenes: expected 1 or more", command=f"{MANY} scenes --max-scenes 0"),
    Case("`--scale-factor 0`", "scale_factor: expected a positive number",
         command=f"{TRAIN} scenes --scale-factor 0.0"),
    Case("`--box` upside down", "box: expected lower x y z", command=f"{TRAIN} scenes --box '(1,1,1,0,0,0)'"),
    Case("`--alpha-color` that nobody knows", "alpha_color: expected one of white, black",
         command=f"{TRAIN} scenes --alpha-color mauve"),
    Case("`--bounds file` without a box", "bounds 'file': expected an aabb for every", top(aabb=...),
         command=f"{TRAIN} scenes --bounds file"),
    ],
)


nan = float("nan")
CAMERA_FILES = Group(
    "Camera files",
    "`transforms.json` of Nerfstudio and instant-ngp.",
    [
    Case("a list", "transforms.json: expected a JSON object", put(CAMERAS, b"[]")),
    Case("no frames", "transforms.json: expected a list 'frames'", top(frames=...)),
    Case("a frame without a path", "frame 1: expected an object with 'file_path'", frame(1, file_path=...)),
    Case("a path of 10,000 letters", "transforms.json: expected at least 1 view",
         top(frames=[{"file_path": "a" * 10_000}] * 1)),
    Case("a frame twice", "'frames': expected each image once",
         edit(CAMERAS, lambda m: m["frames"].append(m["frames"][0]))),
    Case("no pose", "transform_matrix of 'images/0001.png': expected 4 x 4 numbers", frame(1, transform_matrix=...)),
    Case("a pose with NaN", "pose of 'images/0001.png': expected finite numbers up to",
         pose(lambda m: m[0].__setitem__(3, nan))),
    Case("a pose with a scale", "pose of 'images/0001.png': expected a rotation",
         pose(lambda m: [row.__setitem__(0, 2 * row[0]) for row in m] and None)),
    Case("a mirrored pose", "pose of 'images/0001.png': expected a rotation (determinant +1)",
         pose(lambda m: [row.__setitem__(0, -row[0]) for row in m] and None)),
    Case("a transposed pose", "transform_matrix of 'images/0001.png': expected a last row of",
         pose(lambda m: m.__setitem__(slice(None), [list(row) for row in zip(*m, strict=True)]))),
    Case("poses that are all alike", "poses: expected one of its own for each photo",
         edit(CAMERAS, lambda m: [f.update(transform_matrix=m["frames"][0]["transform_matrix"]) for f in m["frames"]]
              and None)),
    Case("no focal length", "intrinsics: expected fl_x or camera_angle_x", top(fl_x=..., fl_y=...)),
    Case("a focal length of 0", "focal length fl_x: expected a positive number of", top(fl_x=0)),
    Case("a focal length of 400 digits", "fl_x: expected a finite number up", top(fl_x=10**400)),
    Case("a focal length of some frames", "fl_x: expected a value at the", both(top(fl_x=...), frame(1, fl_x=8.0))),
    Case("a field of view of 200 degrees", "field of view along x: expected an angle between 0",
         top(fl_x=..., fl_y=..., camera_angle_x=3.5)),
    Case("an unknown camera model", "camera_model: expected one of SIMPLE_PINHOLE, PINHOLE", top(camera_model="BEST")),
    Case("twelve distortion parameters", "distortion_params: expected 6 numbers", top(distortion_params=[0.0] * 12)),
    Case("a box upside down", "aabb: expected two corners [[x, y", top(aabb=[[1, 1, 1], [0, 0, 0]])),
    Case("a split that is a number", "train_filenames: expected a list of paths", top(train_filenames=7)),
    Case("a split that names what is no frame", "val_filenames: expected paths that 'frames' lists",
         top(val_filenames=["images/9.png"])),
    Case("all views held out", "scene 'scene', split 'train': expected at least one view",
         edit(CAMERAS, lambda m: m.update(val_filenames=[f["file_path"] for f in m["frames"]]))),
    Case("a mask that is not there", "mask of 'images/0000.png': expected m.png", masked),
    ],
    command=TRAIN,
)


SRN_FILES = Group(
    "SRN and Blender",
    "`intrinsics.txt` with `pose/`, and `transforms_train.json`.",
    [
    Case("SRN without intrinsics.txt", "intrinsics.txt: expected the intrinsics of the", remove("srn/intrinsics.txt")),
    Case("SRN with words in intrinsics.txt", "intrinsics.txt: expected numbers separated by blanks",
         write("srn/intrinsics.txt", "focal 8\n")),
    Case("SRN with one line in intrinsics.txt", "intrinsics.txt: expected 'f cx cy 0'",
         write("srn/intrinsics.txt", "8 4 4 0\n")),
    Case("SRN with a principal point of NaN", "cx and cy: expected finite numbers",
         write("srn/intrinsics.txt", "8 nan 4 0\n8 8\n")),
    Case("SRN without a pose", "000001.txt: expected the pose of '000001.png'", remove("srn/pose/000001.txt")),
    Case("SRN without poses", "pose: expected a folder of poses", rename("srn/pose", "srn/poses")),
    Case("SRN with a pose of 12 numbers", "000001.txt: expected 16 numbers (a 4",
         write("srn/pose/000001.txt", "1 " * 12)),
    Case("Blender without transforms_train.json", "blender: expected transforms_train.json",
         remove("blender/transforms_train.json"), command=BLENDER),
    Case("Blender with two camera models", "blender: expected one camera model in",
         entries("blender/transforms_test.json", camera_model="OPENCV_FISHEYE"), command=BLENDER),
    ],
    command=SRN,
)


first = 'scene/images/0000.png'
PICTURES = Group(
    "Pictures",
    "Headers are read before training begins, and the whole picture where its file does not end as it should.",
    [
    Case("a picture that ends early", "0000.png: expected a readable image", cut(first)),
    Case("a picture of another size", "0000.png: expected 8 x 8 pixels", put(first, png(9, 9))),
    Case("a header of 60,000 x 60,000 pixels", "0000.png: expected an image of 1",
         both(put(first, png(60_000, 60_000)), top(w=..., h=...))),
    Case("a picture in floats", "0000.png: expected grey or colours of 8 or 16", picture(first, "F", "tiff")),
    Case("PostScript named .png", "0000.png: expected a readable image, got",
         write(first, "%!PS-Adobe-3.0 EPSF-3.0\n")),
    Case("a pipe named .png", "0000.png: expected a regular file", pipe(first)),
    Case("a mask of another size", "m.png: expected 8 x 8 pixels", both(put("scene/m.png", png(4, 4)), masked)),
    Case("masks that leave nothing", "masks: expected a latent pixel of", both(picture("scene/m.png", "L"), masked)),
    ],
    command=TRAIN,
)
# fmt: on

GROUPS = [FOLDERS, CAMERA_FILES, SRN_FILES, PICTURES]
