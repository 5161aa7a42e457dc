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
            Case(
                "nothing there",
                "ns-train triplane --data FOLDER/none",
                "FOLDER/none: expected a data folder, got nothing there; check --data",
            ),
            Case(
                "an empty folder",
                TRAIN,
                "FOLDER/scene: expected a scene with transforms.json (Nerfstudio, instant-ngp), "
                "transforms_{train,val,test}.json (Blender), or rgb/ with pose/ or intrinsics.txt (SRN), "
                "got an empty folder; check --data",
                breaks=lambda folder: (folder / "scene").mkdir(),
            ),
            Case(
                "no scene in it",
                TRAIN,
                "FOLDER/scene: expected a scene with transforms.json (Nerfstudio, instant-ngp), "
                "transforms_{train,val,test}.json (Blender), or rgb/ with pose/ or intrinsics.txt (SRN), "
                "got none in it or in its 1 subfolders; check --data",
                breaks=write("scene/notes/readme.txt", ""),
            ),
            Case(
                "scenes one folder deeper",
                "ns-train triplane --data FOLDER",
                "FOLDER: expected a scene with transforms.json (Nerfstudio, instant-ngp), "
                "transforms_{train,val,test}.json (Blender), or rgb/ with pose/ or intrinsics.txt (SRN), "
                "got none in it or in its 1 subfolders; use --data FOLDER/in",
                "scenes",
                rename("scenes", "in"),
            ),
            Case(
                "a picture instead of a folder",
                f"{TRAIN}/images/0000.png",
                "FOLDER/scene/images/0000.png: expected UTF-8 text, got '...'; save the file as UTF-8",
                "scene",
            ),
            Case(
                "a text instead of a folder",
                f"{TRAIN}/notes.txt",
                "FOLDER/scene/notes.txt, line 1, column 1: expected JSON, got '...'; repair the file",
                "scene",
                write("scene/notes.txt", "cars"),
            ),
            Case(
                "`--scenes` with a name that is not there",
                f"{MANY} scenes --scenes '[\"aa\"]'",
                "scenes: expected names of scenes in FOLDER/scenes, such as a, got 'aa'; correct the name",
                "scenes",
            ),
            Case(
                "`--max-scenes 0`",
                f"{MANY} scenes --max-scenes 0",
                "max_scenes: expected 1 or more, got 0; leave it out to use all scenes",
                "scenes",
            ),
            Case(
                "`--eval-interval 1`",
                f"{TRAIN} scenes --eval-interval 1",
                "eval_interval: expected 2 or more, got 1; use 10 to hold out 10 %",
                "scene",
            ),
            Case(
                "`--scale-factor 0`",
                f"{TRAIN} scenes --scale-factor 0.0",
                "scale_factor: expected a positive number, got 0.0; use 1 to keep the size",
                "scene",
            ),
            Case(
                "`--scene-scale` of infinity",
                f"{TRAIN} scenes --scene-scale 1e999",
                "scene_scale: expected a positive number, got inf; use 1 to keep the size",
                "scene",
            ),
            Case(
                "`--box` upside down",
                f"{TRAIN} scenes --box '(1,1,1,0,0,0)'",
                "box: expected lower x y z, then upper x y z, got (1, 1, 1, 0, 0, 0); put the lower corner first",
                "scene",
            ),
            Case(
                "`--alpha-color` that nobody knows",
                f"{TRAIN} scenes --alpha-color mauve",
                "alpha_color: expected one of white, black, red, green, blue, got 'mauve'; use one of these",
                "scene",
            ),
            Case(
                "`--bounds file` without a box",
                f"{TRAIN} scenes --bounds file",
                "bounds 'file': expected an aabb for every scene, got none for 'scene'; add an aabb to "
                "its camera file, or use --bounds auto",
                "scene",
                top(aabb=...),
            ),
        ],
    )


def camera_files() -> Group:
    nan = float("nan")
    return Group(
        "Camera files",
        "`transforms.json` of Nerfstudio and instant-ngp, `transforms_train.json` of Blender, and `intrinsics.txt` "
        "with `pose/` of SRN.",
        [
            Case(
                "JSON that ends early",
                TRAIN,
                "FOLDER/scene/transforms.json, line 1, column ...: expected JSON, got '...'; repair the file",
                "scene",
                cut(CAMERAS),
            ),
            Case(
                "an empty file",
                TRAIN,
                "FOLDER/scene/transforms.json, line 1, column 1: expected JSON, got '...'; repair the file",
                "scene",
                put(CAMERAS, b""),
            ),
            Case(
                "no UTF-8",
                TRAIN,
                "FOLDER/scene/transforms.json: expected UTF-8 text, got '...'; save the file as UTF-8",
                "scene",
                put(CAMERAS, b"\xff\xfe{}"),
            ),
            Case(
                "brackets without end",
                TRAIN,
                "FOLDER/scene/transforms.json: expected JSON, got brackets nested too deep; repair the file",
                "scene",
                put(CAMERAS, b"[" * 100_000),
            ),
            Case(
                "a number of a million digits",
                TRAIN,
                "FOLDER/scene/transforms.json: expected JSON, got a number of too many digits; repair the file",
                "scene",
                put(CAMERAS, b'{"w": ' + b"9" * 1_000_000 + b"}"),
            ),
            Case(
                "a list",
                TRAIN,
                "FOLDER/scene/transforms.json: expected a JSON object, got a list; write {'frames': [...]}",
                "scene",
                put(CAMERAS, b"[]"),
            ),
            Case(
                "no frames",
                TRAIN,
                "FOLDER/scene/transforms.json: expected a list 'frames', got no 'frames'; write one entry a view",
                "scene",
                top(frames=...),
            ),
            Case(
                "frames that are no list",
                TRAIN,
                "FOLDER/scene/transforms.json: expected a list 'frames', got a dict; write one entry a view",
                "scene",
                top(frames={}),
            ),
            Case(
                "a frame without a path",
                TRAIN,
                "FOLDER/scene/transforms.json, frame 1: expected an object with 'file_path', got "
                "{...; write the image's path as 'file_path'",
                "scene",
                frame(1, file_path=...),
            ),
            Case(
                "a path of 10,000 letters",
                TRAIN,
                "FOLDER/scene/transforms.json: expected at least 2 views with images, got 0 (1 listed images are "
                "absent, the first is 'aaaa...; put the images where the camera file says they are",
                "scene",
                top(frames=[{"file_path": "a" * 10_000}] * 1),
            ),
            Case(
                "a frame twice",
                TRAIN,
                "FOLDER/scene/transforms.json, 'frames': expected each image once, got 'images/0000.png' "
                "twice; remove the duplicate entry",
                "scene",
                edit(CAMERAS, lambda m: m["frames"].append(m["frames"][0])),
            ),
            Case(
                "one view",
                TRAIN,
                "FOLDER/scene/transforms.json: expected at least 2 views with images, got 1; add images",
                "scene",
                edit(CAMERAS, lambda m: m.update(frames=m["frames"][:1])),
            ),
            Case(
                "pictures that are not there",
                TRAIN,
                "FOLDER/scene/transforms.json: expected at least 2 views with images, got 0 (3 listed "
                "images are absent, the first is 'images/0000.png'); put the images where the camera "
                "file says they are",
                "scene",
                rename("scene/images", "scene/elsewhere"),
            ),
            Case(
                "no pose",
                TRAIN,
                "FOLDER/scene/transforms.json, transform_matrix of 'images/0001.png': expected 4 x 4 "
                "numbers, got none; write the camera-to-world matrix",
                "scene",
                frame(1, transform_matrix=...),
            ),
            Case(
                "a pose of two rows",
                TRAIN,
                "FOLDER/scene/transforms.json, transform_matrix of 'images/0001.png': expected 4 x 4 "
                "numbers, got shape [2, 4]; write the camera-to-world matrix",
                "scene",
                pose(lambda m: m.__delitem__(slice(2, 4))),
            ),
            Case(
                "a pose of words",
                TRAIN,
                "FOLDER/scene/transforms.json, transform_matrix of 'images/0001.png': expected 4 x 4 "
                "numbers, got 'identity'; write the camera-to-world matrix",
                "scene",
                frame(1, transform_matrix="identity"),
            ),
            Case(
                "a pose with NaN",
                TRAIN,
                "FOLDER/scene/transforms.json, pose of 'images/0001.png': expected finite numbers up to "
                "1e+09, got NaN or infinity; repair the pose",
                "scene",
                pose(lambda m: m[0].__setitem__(3, nan)),
            ),
            Case(
                "a pose with 1e999",
                TRAIN,
                "FOLDER/scene/transforms.json, pose of 'images/0001.png': expected finite numbers up to "
                "1e+09, got NaN or infinity; repair the pose",
                "scene",
                pose(lambda m: m[0].__setitem__(3, float("inf"))),
            ),
            Case(
                "a pose with 1e300",
                TRAIN,
                "FOLDER/scene/transforms.json, pose of 'images/0001.png': expected finite numbers up to "
                "1e+09, got 1e+300; repair the pose",
                "scene",
                pose(lambda m: m[0].__setitem__(3, 1e300)),
            ),
            Case(
                "a pose with a scale",
                TRAIN,
                "FOLDER/scene/transforms.json, pose of 'images/0001.png': expected a rotation, got a "
                "matrix R with |R R^T - 1| = ...; write rigid poses, without scale or shear",
                "scene",
                pose(lambda m: [row.__setitem__(0, 2 * row[0]) for row in m] and None),
            ),
            Case(
                "a mirrored pose",
                TRAIN,
                "FOLDER/scene/transforms.json, pose of 'images/0001.png': expected a rotation "
                "(determinant +1), got a mirror image; write right-handed camera axes (x right, y up, z "
                "backwards)",
                "scene",
                pose(lambda m: [row.__setitem__(0, -row[0]) for row in m] and None),
            ),
            Case(
                "no focal length",
                TRAIN,
                "FOLDER/scene/transforms.json, intrinsics: expected fl_x or camera_angle_x, got neither; "
                "add fl_x (pixels) or camera_angle_x (radians)",
                "scene",
                top(fl_x=..., fl_y=...),
            ),
            Case(
                "fl_y alone",
                TRAIN,
                "FOLDER/scene/transforms.json, intrinsics: expected fl_x or camera_angle_x, got fl_y or "
                "camera_angle_y alone; add fl_x (pixels) or camera_angle_x (radians)",
                "scene",
                top(fl_x=...),
            ),
            Case(
                "a focal length of 0",
                TRAIN,
                "FOLDER/scene/transforms.json, focal length fl_x: expected a positive number of pixels, "
                "got 0 for 'images/0000.png'; repair the intrinsics",
                "scene",
                top(fl_x=0),
            ),
            Case(
                "a focal length of 1e-320",
                TRAIN,
                "FOLDER/scene/transforms.json, focal length fl_x: expected a positive number of pixels, got ... for "
                "'images/0000.png'; repair the intrinsics",
                "scene",
                top(fl_x=1e-320),
            ),
            Case(
                "a focal length of 400 digits",
                TRAIN,
                "FOLDER/scene/transforms.json, fl_x: expected a finite number up to 1e+09, got 1000...; repair the "
                "camera file",
                "scene",
                top(fl_x=10**400),
            ),
            Case(
                "a focal length in words",
                TRAIN,
                "FOLDER/scene/transforms.json, fl_x: expected a finite number up to 1e+09, got '50mm'; "
                "repair the camera file",
                "scene",
                top(fl_x="50mm"),
            ),
            Case(
                "a focal length of some frames",
                TRAIN,
                "FOLDER/scene/transforms.json, fl_x: expected a value at the top or in every frame, got "
                "none for 'images/0000.png'; add the value",
                "scene",
                both(top(fl_x=...), frame(1, fl_x=8.0)),
            ),
            Case(
                "a field of view of 200 degrees",
                TRAIN,
                "FOLDER/scene/transforms.json, field of view along x: expected an angle between 0 and "
                "180 degrees, got 3.5 radians; repair the camera file",
                "scene",
                top(fl_x=..., fl_y=..., camera_angle_x=3.5),
            ),
            Case(
                "a principal point of NaN",
                TRAIN,
                "FOLDER/scene/transforms.json, cx: expected a finite number up to 1e+09, got nan; repair "
                "the camera file",
                "scene",
                top(cx=nan),
            ),
            Case(
                "a width of NaN",
                TRAIN,
                "FOLDER/scene/transforms.json, w: expected a finite number up to 1e+09, got nan; repair "
                "the camera file",
                "scene",
                top(w=nan),
            ),
            Case(
                "an unknown camera model",
                TRAIN,
                "FOLDER/scene/transforms.json, camera_model: expected one of SIMPLE_PINHOLE, PINHOLE, "
                "..., got 'BEST'; undistort the images to one of these",
                "scene",
                top(camera_model="BEST"),
            ),
            Case(
                "a camera model that is a list",
                TRAIN,
                "FOLDER/scene/transforms.json, camera_model: expected one of SIMPLE_PINHOLE, PINHOLE, "
                "..., got []; undistort the images to one of these",
                "scene",
                top(camera_model=[]),
            ),
            Case(
                "twelve distortion parameters",
                TRAIN,
                "FOLDER/scene/transforms.json, distortion_params: expected 6 numbers, got [0.0, 0.0, "
                "0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]; write k1, k2, k3, k4, p1, p2; models "
                "with more parameters are not supported",
                "scene",
                top(distortion_params=[0.0] * 12),
            ),
            Case(
                "distortion in words",
                TRAIN,
                "FOLDER/scene/transforms.json, k1: expected a finite number up to 1e+09, got 'none'; "
                "repair the camera file",
                "scene",
                top(k1="none"),
            ),
            Case(
                "a box upside down",
                TRAIN,
                "FOLDER/scene/transforms.json, aabb: expected two corners [[x, y, z], [x, y, z]], the "
                "lower one first, got [[1, 1, 1], [0, 0, 0]]; write the scene's bounds in world units, "
                "or remove the entry",
                "scene",
                top(aabb=[[1, 1, 1], [0, 0, 0]]),
            ),
            Case(
                "a box of five numbers",
                TRAIN,
                "FOLDER/scene/transforms.json, aabb: expected two corners [[x, y, z], [x, y, z]], the "
                "lower one first, got [1, 2, 3, 4, 5]; write the scene's bounds in world units, or "
                "remove the entry",
                "scene",
                top(aabb=[1, 2, 3, 4, 5]),
            ),
            Case(
                "aabb_scale of 0",
                TRAIN,
                "FOLDER/scene/transforms.json, aabb_scale: expected a positive number, got 0; repair the camera file",
                "scene",
                top(aabb=..., aabb_scale=0),
            ),
            Case(
                "applied_scale of 0",
                TRAIN,
                "FOLDER/scene/transforms.json, applied_scale: expected a positive number, got 0; repair "
                "the camera file",
                "scene",
                top(applied_scale=0),
            ),
            Case(
                "applied_transform of NaN",
                TRAIN,
                "FOLDER/scene/transforms.json, applied_transform: expected finite numbers up to 1e+09, "
                "got NaN, infinity or more; repair the camera file",
                "scene",
                top(applied_transform=[[nan] * 4] * 3),
            ),
            Case(
                "a split that is a number",
                TRAIN,
                "FOLDER/scene/transforms.json, train_filenames: expected a list of paths, got 7; list "
                "the file_path of each of its frames",
                "scene",
                top(train_filenames=7),
            ),
            Case(
                "a split that names what is no frame",
                TRAIN,
                "FOLDER/scene/transforms.json, val_filenames: expected paths that 'frames' lists, got "
                "'images/9.png'; use each frame's file_path",
                "scene",
                top(val_filenames=["images/9.png"]),
            ),
            Case(
                "a split that names a frame twice",
                TRAIN,
                "FOLDER/scene/transforms.json, val_filenames: expected each image once, got "
                "'images/0000.png' twice; remove the duplicate entry",
                "scene",
                top(val_filenames=["images/0000.png"] * 2),
            ),
            Case(
                "all views held out",
                TRAIN,
                "scene 'scene', split 'train': expected at least one view, got none; leave some views "
                "out of val_filenames and test_filenames",
                "scene",
                edit(CAMERAS, lambda m: m.update(val_filenames=[f["file_path"] for f in m["frames"]])),
            ),
            Case(
                "a mask that is not there",
                TRAIN,
                "FOLDER/scene/transforms.json, mask of 'images/0000.png': expected m.png, got no such "
                "file; put the mask where the camera file says it is",
                "scene",
                edit(CAMERAS, lambda m: [f.update(mask_path="m.png") for f in m["frames"]] and None),
            ),
            Case(
                "Blender without transforms_train.json",
                BLENDER,
                "FOLDER/blender: expected transforms_train.json, got only val or test; add it, or write "
                "all frames into one transforms.json",
                "blender",
                remove("blender/transforms_train.json"),
            ),
            Case(
                "Blender without a field of view",
                BLENDER,
                "FOLDER/blender/transforms_train.json, intrinsics: expected fl_x or camera_angle_x, got "
                "neither; add fl_x (pixels) or camera_angle_x (radians)",
                "blender",
                entries("blender/transforms_train.json", camera_angle_x=...),
            ),
            Case(
                "Blender with two camera models",
                BLENDER,
                "blender: expected one camera model in all files, got several; use one camera_model",
                "blender",
                entries("blender/transforms_test.json", camera_model="OPENCV_FISHEYE"),
            ),
            Case(
                "SRN without intrinsics.txt",
                SRN,
                "FOLDER/srn/intrinsics.txt: expected the intrinsics of the scene, got no such file; add "
                "the file with the lines 'f cx cy 0', origin, near plane, scale, 'height width'",
                "srn",
                remove("srn/intrinsics.txt"),
            ),
            Case(
                "SRN with words in intrinsics.txt",
                SRN,
                "FOLDER/srn/intrinsics.txt: expected numbers separated by blanks, got 'focal 8'; repair the file",
                "srn",
                write("srn/intrinsics.txt", "focal 8\n"),
            ),
            Case(
                "SRN with one line in intrinsics.txt",
                SRN,
                "FOLDER/srn/intrinsics.txt: expected 'f cx cy 0' first and 'height width' last, got "
                "lines of [4] numbers; write the lines 'f cx cy 0', origin, near plane, scale, 'height "
                "width'",
                "srn",
                write("srn/intrinsics.txt", "8 4 4 0\n"),
            ),
            Case(
                "SRN with no UTF-8 in intrinsics.txt",
                SRN,
                "FOLDER/srn/intrinsics.txt: expected UTF-8 text, got '...'; save the file as UTF-8",
                "srn",
                put("srn/intrinsics.txt", b"\xff\xfe8\x00"),
            ),
            Case(
                "SRN with an infinite size",
                SRN,
                "FOLDER/srn/intrinsics.txt, width: expected a positive number of pixels, got inf for "
                "'all views'; repair the intrinsics",
                "srn",
                write("srn/intrinsics.txt", "8 4 4 0\n8 inf\n"),
            ),
            Case(
                "SRN with a size of half a pixel",
                SRN,
                "FOLDER/srn/intrinsics.txt, width: expected a positive number of pixels, got 0 for 'all "
                "views'; repair the intrinsics",
                "srn",
                write("srn/intrinsics.txt", "8 4 4 0\n8 0.5\n"),
            ),
            Case(
                "SRN with a principal point of NaN",
                SRN,
                "FOLDER/srn/intrinsics.txt, cx and cy: expected finite numbers, got nan and 4; repair the file",
                "srn",
                write("srn/intrinsics.txt", "8 nan 4 0\n8 8\n"),
            ),
            Case(
                "SRN without a pose",
                SRN,
                "FOLDER/srn/pose/1.txt: expected the pose of '1.png', got no such file; add the pose, or "
                "remove the image",
                "srn",
                remove("srn/pose/1.txt"),
            ),
            Case(
                "SRN without poses",
                SRN,
                "FOLDER/srn/pose: expected a folder of poses, got no such folder; add one text file a view",
                "srn",
                rename("srn/pose", "srn/poses"),
            ),
            Case(
                "SRN with a pose of 12 numbers",
                SRN,
                "FOLDER/srn/pose/1.txt: expected 16 numbers (a 4 x 4 matrix), got 12; repair the pose",
                "srn",
                write("srn/pose/1.txt", "1 " * 12),
            ),
            Case(
                "SRN with a pose that is no UTF-8",
                SRN,
                "FOLDER/srn/pose/1.txt: expected UTF-8 text, got '...'; save the file as UTF-8",
                "srn",
                put("srn/pose/1.txt", b"\xff" * 40),
            ),
        ],
    )


def pictures() -> Group:
    first = "scene/images/0000.png"
    return Group(
        "Pictures",
        "Headers are read before training begins, and the whole picture where its file does not end as it should.",
        [
            Case(
                "a picture that ends early",
                TRAIN,
                "FOLDER/scene/images/0000.png: expected a readable image, got ...; export the image "
                "again, or leave it out",
                "scene",
                cut(first),
            ),
            Case(
                "an empty file",
                TRAIN,
                "FOLDER/scene/images/0000.png: expected a readable image, got ...; export the image "
                "again, or leave it out",
                "scene",
                put(first, b""),
            ),
            Case(
                "a text named .png",
                TRAIN,
                "FOLDER/scene/images/0000.png: expected a readable image, got ...; export the image "
                "again, or leave it out",
                "scene",
                write(first, "no picture"),
            ),
            Case(
                "a folder named .png",
                TRAIN,
                "FOLDER/scene/transforms.json: expected at least 2 views with images, got 0 (1 listed "
                "images are absent, the first is 'images/0000.png'); put the images where the camera "
                "file says they are",
                "scene",
                both(
                    remove(first),
                    lambda folder: (folder / first).mkdir(),
                    top(frames=[{"file_path": "images/0000.png"}]),
                ),
            ),
            Case(
                "a picture of another size",
                TRAIN,
                "FOLDER/scene/images/0000.png: expected 8 x 8 pixels (width x height), as "
                "FOLDER/scene/transforms.json says, got 9 x 9; use the images that the cameras were made "
                "for, or scale w, h, fl_x, fl_y, cx and cy with the images",
                "scene",
                put(first, png(9, 9)),
            ),
            Case(
                "pixels that are not there",
                TRAIN,
                "FOLDER/scene/images/0001.png: expected a readable image, got ...; export the "
                "image again, or leave it out",
                "scene",
                put("scene/images/0001.png", png(8, 8)),
            ),
            Case(
                "a header of 60,000 x 60,000 pixels",
                TRAIN,
                "FOLDER/scene/images/0000.png: expected an image of 1 to 178,956,970 pixels, got 60000 x "
                "60000; export the image again, smaller",
                "scene",
                both(put(first, png(60_000, 60_000)), top(w=..., h=...)),
            ),
            Case(
                "a header without pixels",
                TRAIN,
                "FOLDER/scene/images/0000.png: expected an image of 1 to 178,956,970 pixels, got 0 x 8; "
                "export the image again, smaller",
                "scene",
                both(put(first, png(0, 8)), top(w=..., h=...)),
            ),
            Case(
                "a mask of another size",
                TRAIN,
                "FOLDER/scene/m.png: expected 8 x 8 pixels, as its image, got 4 x 4; resize the mask",
                "scene",
                both(
                    put("scene/m.png", png(4, 4)),
                    edit(CAMERAS, lambda m: [f.update(mask_path="m.png") for f in m["frames"]] and None),
                ),
            ),
            Case(
                "masks that leave nothing",
                TRAIN,
                "masks: expected a latent pixel of each scene to be kept, got none in views 0 to 1; "
                "correct their masks, white is what is kept",
                "scene",
                both(black_mask, edit(CAMERAS, lambda m: [f.update(mask_path="m.png") for f in m["frames"]] and None)),
            ),
        ],
    )


def black_mask(folder):
    from PIL import Image

    Image.new("L", (8, 8)).save(folder / "scene" / "m.png")


GROUPS = [folders(), camera_files(), pictures()]
