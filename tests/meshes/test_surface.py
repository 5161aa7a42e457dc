"""Meshes of all kinds of colouring, in memory and from files."""

import base64
import os
import struct
import warnings
import zlib

import numpy as np
import pytest
import trimesh
from PIL import Image
from scene_folders import edited
from trimesh.visual import TextureVisuals
from trimesh.visual.material import PBRMaterial, SimpleMaterial

from latent_nerfstudio.meshes import gltf, mesh_files
from latent_nerfstudio.meshes import surface as surface_module
from latent_nerfstudio.meshes.raycast import Lighting, Raycaster
from latent_nerfstudio.meshes.surface import UNCOLOURED, corner_normals, load_surface, shrink_textures, surface_of

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)
AMBIENT = Lighting(ambient=1.0, directions=((0.0, 0.0, 1.0),), strengths=(0.0,))


def textured_quad(material: type = PBRMaterial, size: int = 32) -> trimesh.Trimesh:
    """The unit square in the plane z = 0, facing up; red, green / blue, white as seen from above with y up."""
    image = np.zeros((size, size, 3), np.uint8)
    half = size // 2
    image[:half, :half], image[:half, half:], image[half:, :half], image[half:, half:] = RED, GREEN, BLUE, WHITE
    key = "baseColorTexture" if material is PBRMaterial else "image"
    corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], float)
    return trimesh.Trimesh(
        np.concatenate([corners - 0.5, np.zeros((4, 1))], -1),
        [[0, 1, 2], [0, 2, 3]],
        visual=TextureVisuals(uv=corners, material=material(**{key: Image.fromarray(image)})),
        process=False,
    )


def quarters(surface) -> np.ndarray:
    """The middle pixels of four quarters as seen from above: upper left, upper right, lower left, lower right."""
    pose = np.eye(4)
    pose[2, 3] = 2.0
    image = Raycaster(surface, AMBIENT, "flat").render(pose, 32, 2.0)
    return image[[8, 8, 24, 24], [8, 24, 8, 24]]


def seen_from_above(surface) -> np.ndarray:
    """The colours of these pixels, which are opaque."""
    seen = quarters(surface)
    assert (seen[:, 3] == 255).all()
    return seen[:, :3]


@pytest.mark.parametrize("suffix", ["glb", "obj"])
def test_textured_files_keep_their_texture(tmp_path, suffix):
    textured_quad(PBRMaterial if suffix == "glb" else SimpleMaterial).export(tmp_path / f"quad.{suffix}")
    surface = load_surface(tmp_path / f"quad.{suffix}")
    np.testing.assert_array_equal(seen_from_above(surface), [RED, GREEN, BLUE, WHITE])


def test_base_colour_multiplies_a_texture():
    quad = textured_quad()
    quad.visual.material.baseColorFactor = [255, 128, 0, 255]
    colours = seen_from_above(surface_of(quad))
    # 128 / 255 is linear: 1.055 x^(1 / 2.4) - 0.055 of it is 188 / 255.
    np.testing.assert_array_equal(colours, [RED, (0, 188, 0), (0, 0, 0), (255, 188, 0)])


@pytest.mark.parametrize("suffix", ["ply", "glb", "obj"])
def test_vertex_colours_are_interpolated(tmp_path, suffix):
    quad = trimesh.Trimesh(textured_quad().vertices, [[0, 1, 2], [0, 2, 3]], process=False)
    quad.visual.vertex_colors = [(0, 0, 0), (200, 0, 0), (200, 100, 0), (0, 100, 0)]
    quad.export(tmp_path / f"quad.{suffix}")
    colours = seen_from_above(load_surface(tmp_path / f"quad.{suffix}")).astype(float)
    # Pixel centres lie at 8.5 / 32 and 24.5 / 32 of the square.
    low, high = 8.5 / 32, 24.5 / 32
    # Those of glTF are linear: 200 and 100 of 255 are 228 and 168 in a picture.
    red, green = (228, 168) if suffix == "glb" else (200, 100)
    expected = [(red * x, green * (1 - y), 0) for y in (low, high) for x in (low, high)]
    np.testing.assert_allclose(colours, expected, atol=1.0)


def test_linear_and_other_colours_of_materials(tmp_path):
    """A half of glTF's light is 188 of 255 in a picture; a half of an .mtl, or of a .ply, is a half of 255."""
    box = trimesh.creation.box((1.0, 1.0, 1.0))
    box.visual = TextureVisuals(uv=np.zeros((8, 2)), material=PBRMaterial(baseColorFactor=[0.5, 0.5, 0.5, 1.0]))
    box.export(tmp_path / "box.glb")
    np.testing.assert_allclose(255 * load_surface(tmp_path / "box.glb").tint, 188, atol=1)
    (tmp_path / "box.mtl").write_text("newmtl grey\nKd 0.5 0.5 0.5\n")
    triangle = "mtllib box.mtl\nusemtl grey\nv 0 0 0\nv 1 0 0\nv 0 1 0\nvt 0 0\nf 1/1 2/1 3/1\n"
    (tmp_path / "box.obj").write_text(triangle)
    np.testing.assert_allclose(255 * load_surface(tmp_path / "box.obj").tint, 128, atol=1)


def test_factors_and_corners_have_alpha_too_and_corners_may_have_sixteen_bits():
    """The alpha of a point is that of its material's factor, times its corners'."""
    quad = textured_quad()
    quad.visual.vertex_attributes["color"] = np.full((4, 4), 65535, dtype=np.uint16)
    np.testing.assert_array_equal(seen_from_above(surface_of(quad)), [RED, GREEN, BLUE, WHITE])
    quad.visual.material = PBRMaterial(baseColorFactor=[255, 255, 255, 128], alphaMode="BLEND")
    quad.visual.vertex_attributes["color"] = np.full((4, 4), (255, 255, 255, 51), dtype=np.uint8)
    np.testing.assert_allclose(surface_of(quad).opacity, 128 / 255 * 51 / 255)
    assert (surface_of(textured_quad()).opacity == 1).all()


def test_uncoloured_meshes_are_grey_and_point_clouds_refused(tmp_path):
    trimesh.creation.box((1.0, 1.0, 1.0)).export(tmp_path / "box.stl")
    np.testing.assert_allclose(load_surface(tmp_path / "box.stl").tint, UNCOLOURED)
    trimesh.PointCloud(np.random.default_rng(0).random((10, 3))).export(tmp_path / "points.ply")
    with pytest.raises(ValueError, match=r"points\.ply: expected a mesh with faces, got none"):
        load_surface(tmp_path / "points.ply")


def test_files_of_a_mesh_are_bounded_together(tmp_path, monkeypatch):
    """A byte order mark leads to no other file."""
    path = tmp_path / "box.gltf"
    trimesh.creation.box((1, 1, 1)).export(path)
    with edited(path) as header:
        header["buffers"] *= 4
    (tmp_path / "model.gltf").write_text("{}")
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert len(load_surface(path).triangles) == 12
    make, size = mesh_files.CheckedResolver.__init__, (tmp_path / header["buffers"][0]["uri"]).stat().st_size
    init = lambda self, source: (make(self, source), setattr(self, "left", size))[0]  # noqa: E731
    monkeypatch.setattr(mesh_files.CheckedResolver, "__init__", init)
    with pytest.raises(ValueError, match=r"\.bin: expected 0 bytes at most, got"):
        load_surface(path)


PANES = {
    ("OPAQUE", None): [WHITE, WHITE, WHITE, WHITE],
    ("MASK", None): [WHITE, GREEN, BLUE, WHITE],  # glTF's default is 0.5
    ("MASK", 0.3): [WHITE, WHITE, BLUE, WHITE],
    ("BLEND", None): [WHITE, (100, 255, 100), BLUE, WHITE],  # 100 / 255 of white over green
}
"""What a white pane with alpha 255, 100, 0 and 200 over red, green, blue and white looks like, by its alpha mode."""


@pytest.mark.parametrize("mode, cutoff", PANES)
def test_alpha_of_gltf_counts_as_its_mode_says(tmp_path, mode, cutoff):
    alpha = np.kron([[255, 100], [0, 200]], np.ones((16, 16))).astype(np.uint8)
    image = Image.fromarray(np.dstack([np.full((32, 32, 3), 255, np.uint8), alpha]))
    pane, floor = textured_quad(), textured_quad()
    pane.visual.material = PBRMaterial(baseColorTexture=image, alphaMode=mode, alphaCutoff=cutoff)
    pane.export(tmp_path / "pane.glb")
    floor.apply_translation([0, 0, -0.2])
    trimesh.Scene([floor, pane]).export(tmp_path / "both.glb")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_allclose(seen_from_above(load_surface(tmp_path / "both.glb")), PANES[mode, cutoff], atol=1)
        seen = quarters(load_surface(tmp_path / "pane.glb"))
    alone = {"OPAQUE": [255] * 4, "MASK": [255, 255 * (cutoff == 0.3), 0, 255], "BLEND": [255, 100, 0, 200]}[mode]
    np.testing.assert_allclose(seen[:, 3], alone, atol=1)
    assert (seen[seen[:, 3] > 0, :3] == 255).all()  # straight alpha


def test_alpha_of_other_formats_is_warned_of_by_name(tmp_path):
    quad = trimesh.Trimesh(textured_quad().vertices, [[0, 1, 2], [0, 2, 3]], process=False)
    quad.visual.vertex_colors = [(255, 0, 0, 128)] * 4
    quad.export(tmp_path / "quad.ply")
    with pytest.warns(UserWarning, match=r"quad\.ply: rendered opaque, .*: geometry_0"):
        assert (load_surface(tmp_path / "quad.ply").cutoff == 0).all()


def test_face_colours_stay_on_their_faces(tmp_path):
    box = trimesh.creation.box((1.0, 1.0, 1.0))
    top = box.face_normals[:, 2] > 0.9
    box.visual.face_colors = np.where(top[:, None], (*GREEN, 255), (*RED, 255)).astype(np.uint8)
    box.export(tmp_path / "box.ply")
    for surface in (surface_of(box), load_surface(tmp_path / "box.ply")):
        np.testing.assert_array_equal(seen_from_above(surface)[:, 1], [255] * 4)
        assert (surface.tint[~top] == (1.0, 0.0, 0.0)).all()


def test_plain_materials_and_instances_of_a_scene(tmp_path):
    scene = trimesh.Scene()
    for index, colour in enumerate([RED, GREEN]):
        box = trimesh.creation.box((1.0, 1.0, 1.0))
        box.visual = TextureVisuals(material=PBRMaterial(baseColorFactor=[*colour, 255]))
        scene.add_geometry(box, transform=trimesh.transformations.translation_matrix([3.0 * index, 0, 0]))
    scene.add_geometry(textured_quad(), transform=trimesh.transformations.translation_matrix([0, 5.0, 0]))
    scene.export(tmp_path / "scene.glb")
    surface = load_surface(tmp_path / "scene.glb")
    corners = surface.triangles.reshape(-1, 3)
    np.testing.assert_allclose([corners.min(0), corners.max(0)], [[-0.5, -0.5, -0.5], [3.5, 5.5, 0.5]])
    left = surface.triangles.mean(1)[:, 0] < 1.5
    plain = surface.texture < 0
    np.testing.assert_allclose(surface.tint[left & plain], np.broadcast_to((1.0, 0.0, 0.0), (12, 3, 3)))
    np.testing.assert_allclose(surface.tint[~left], np.broadcast_to((0.0, 1.0, 0.0), (12, 3, 3)))
    assert (~plain).sum() == 2
    assert len(surface.textures) == 1


def test_sharp_edges_stay_sharp_and_round_ones_become_smooth_whatever_seams_a_texture_has():
    box = trimesh.creation.box((1.0, 1.0, 1.0)).triangles
    np.testing.assert_allclose(corner_normals(box, "smooth"), corner_normals(box, "flat"), atol=1e-12)
    mesh = trimesh.creation.icosphere(3, 1.0)
    ball = np.asarray(mesh.triangles)
    np.testing.assert_allclose(corner_normals(ball, "smooth"), ball, atol=0.02)
    assert np.abs(corner_normals(ball, "flat") - ball).max() > 0.05
    cut = trimesh.Trimesh(ball.reshape(-1, 3), np.arange(3 * len(ball)).reshape(-1, 3), process=False)
    joined, separate = (corner_normals(surface_of(one).triangles) for one in (mesh, cut))
    np.testing.assert_allclose(separate, joined)


def test_textures_shrink_to_the_mean_of_what_a_ray_covers():
    quad = surface_of(textured_quad(size=32))
    same = shrink_textures(quad, samples_per_unit=32.0).textures[0]
    np.testing.assert_array_equal(same, quad.textures[0])
    np.testing.assert_array_equal(shrink_textures(quad, 16.0).textures[0], quad.textures[0][::2, ::2])
    grey = shrink_textures(quad, samples_per_unit=1.0).textures[0]
    assert grey.shape == (1, 1, 3)
    np.testing.assert_allclose(grey[0, 0], 127.5, atol=0.6)


MATERIALS = ["v 0 0 0\nv 1 0 0\nv 0 1 0", *(f"usemtl {i % 5000}\nf 1 2 3" for i in range(5200))]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("broken.glb", "not a mesh at all", r"broken\.glb: expected a readable mesh, got .*; export it again"),
        ("far.obj", "v 0 0 0\nv 1e300 0 0\nv 0 1e300 0\nf 1 2 3\n", "expected .*finite vertices up to 1e.30"),
        ("nan.obj", "v 0 0 0\nv 1 0 0\nv 0 1 nan\nv 0 1 0\nf 1 2 3\nf 1 2 4\n", "expected finite vertices .* got NaN"),
        ("many.obj", "\n".join(MATERIALS), r"many\.obj: expected at most 4,096 materials, got 5,000"),
    ],
    ids=lambda text: text[:10],
)
def test_files_that_are_no_meshes_are_named(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=message):
        load_surface(tmp_path / name)


def box_of_files(folder):
    """A textured quad as .obj, .mtl and .png."""
    textured_quad(SimpleMaterial).export(folder / "quad.obj")
    return {path.suffix: path for path in folder.iterdir()}


@pytest.mark.parametrize("suffix", [".mtl", ".png", ".obj"])
def test_what_is_no_file_is_refused(tmp_path, suffix):
    path = box_of_files(tmp_path)[suffix]
    for make, kind in ((os.mkfifo, "pipe"), (lambda path: path.symlink_to("/dev/zero"), "")):
        path.unlink()
        make(path)
        with pytest.raises(ValueError, match=f"expected (a regular file, got a {kind}|files beside it or below)"):
            load_surface(tmp_path / "quad.obj")


def test_a_missing_texture_is_named(tmp_path):
    box_of_files(tmp_path)[".png"].unlink()
    with pytest.warns(UserWarning, match=r"quad\.obj: 'material_0\.png', which it names, is not there"):
        load_surface(tmp_path / "quad.obj")


def test_colours_that_are_not_read_are_told(tmp_path):
    """Of an OFF file: of its vertices, or of its faces behind their corners; plain ones are not warned of."""
    plain = "OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 2"
    for text, told in ((plain, 0), (f"{plain} 220 40 40\n", 1), (f"C{plain}".replace(" 0\n1", " 0 9 9 9 9\n1"), 1)):
        (tmp_path / "a.off").write_text(text)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            load_surface(tmp_path / "a.off")
        assert ["colours of OFF files are not read" in str(one.message) for one in caught] == [True] * told


@pytest.mark.parametrize("written", ["a\\my tex.png", "C:\\Users\\me\\my tex.png", "/home/me/my tex.png"])
def test_textures_are_found_as_other_systems_name_them(tmp_path, written):
    files = box_of_files(tmp_path)
    place = tmp_path / "a" / "my tex.png" if written[0] == "a" else tmp_path / "my tex.png"
    place.parent.mkdir(exist_ok=True)
    files[".png"].rename(place)
    files[".mtl"].write_text(files[".mtl"].read_text().replace("material_0.png", written))
    np.testing.assert_array_equal(seen_from_above(load_surface(tmp_path / "quad.obj")), [RED, GREEN, BLUE, WHITE])


def test_names_of_gltf_are_percent_encoded(tmp_path):
    textured_quad().export(tmp_path / "quad.gltf")
    with edited(tmp_path / "quad.gltf") as header:
        for entry in (*header["buffers"], *header["images"]):
            if "uri" in entry:
                (tmp_path / entry["uri"]).rename(tmp_path / f"of quad {entry['uri']}")
                entry["uri"] = f"of%20quad%20{entry['uri']}"
    np.testing.assert_array_equal(seen_from_above(load_surface(tmp_path / "quad.gltf")), [RED, GREEN, BLUE, WHITE])


def embed(header, content):
    """The texture within the JSON."""
    header["images"] = [{"uri": "data:image/png;base64," + base64.b64encode(content).decode()}]


def based(header, **more):
    """More of the texture of the base colour."""
    header["materials"][0]["pbrMetallicRoughness"]["baseColorTexture"].update(more)


BASIS, MESHOPT, MOVED = "KHR_texture_basisu", "EXT_meshopt_compression", "KHR_texture_transform"
UNREAD = {
    "no texture": (lambda h: embed(h, b"none"), "textures that can be read, got another"),
    "many pixels": (lambda h: embed(h, BOMB), "textures that can be read, got Decompression"),
    "packed": (lambda h: h.update(textures=[{"extensions": {BASIS: {"source": 0}}}]), f"JPEG or WEBP, got {BASIS}"),
    "meshopt": (lambda h: h.update(extensionsRequired=["KHR_materials_unlit", MESHOPT]), f"requires, got {MESHOPT};"),
    "moved": (lambda h: based(h, extensions={MOVED: {"offset": [0.5, 0], "scale": [1, 1]}}), "is, got other offset;"),
    "second": (lambda h: based(h, texCoord=1), "TEXCOORD_0 as it is, got other texCoord;"),
    "shares": (lambda h: h["accessors"][-1].update(normalized=True), "TEXCOORD_0 in floats, got shares"),
}
"""glTF that would be rendered without its texture, or without its shape."""

BOMB = struct.pack(">8sI4sIIBBBBB", b"\x89PNG\r\n\x1a\n", 13, b"IHDR", 20_000, 20_000, 1, 0, 0, 0, 0)
BOMB += struct.pack(">II4sI", zlib.crc32(BOMB[12:]), 0, b"IDAT", zlib.crc32(b"IDAT"))
"""The beginning of a PNG of 20,000 x 20,000 pixels."""


@pytest.mark.parametrize("case", UNREAD)
def test_gltf_that_is_not_read_whole_is_refused(tmp_path, case):
    change, expected = UNREAD[case]
    textured_quad().export(tmp_path / "quad.gltf")
    with edited(tmp_path / "quad.gltf") as header:
        change(header)
    with pytest.raises(ValueError, match=rf"quad\.gltf: expected .*{expected}"):
        load_surface(tmp_path / "quad.gltf")


def test_textures_that_are_none_in_a_glb_and_beside_an_obj(tmp_path):
    path = tmp_path / "quad.glb"
    textured_quad().export(path)
    assert path.read_bytes().count(b"\x89PNG") == 1
    path.write_bytes(path.read_bytes().replace(b"\x89PNG", b"none"))
    with pytest.raises(ValueError, match=r"quad\.glb: expected textures that can be read, got another format; convert"):
        load_surface(path)
    (tmp_path / "obj").mkdir()
    texture = box_of_files(tmp_path / "obj")[".png"]
    texture.write_text("none")
    with pytest.raises(ValueError, match=r"material_0\.png: expected textures that can be read, got another format"):
        load_surface(tmp_path / "obj" / "quad.obj")
    Image.new("RGB", (8, 8)).save(tmp_path / "a.eps")
    (tmp_path / "a.eps").rename(texture)
    with pytest.raises(ValueError, match=r"quad\.obj: expected textures in PNG, .*, got EPS; convert them"):
        load_surface(tmp_path / "obj" / "quad.obj")


def test_large_textures_are_averaged_down_and_too_many_pixels_refused(tmp_path, monkeypatch):
    textured_quad(size=32).export(tmp_path / "quad.glb")
    monkeypatch.setattr(surface_module, "LARGEST_SIDE", 16)
    assert load_surface(tmp_path / "quad.glb").textures[0].shape == (16, 16, 3)
    monkeypatch.setattr(mesh_files, "LARGEST_TEXTURES", 1000)
    with pytest.raises(ValueError, match=r"quad\.glb: expected textures of at most 1,000 pixels in all, got 1,024"):
        load_surface(tmp_path / "quad.glb")


def longer(header, **values):
    """A list without bytes behind it."""
    header["accessors"][0].update(values)
    del header["accessors"][0]["bufferView"]


def views(header, count, length):
    header["bufferViews"].extend([{"buffer": 0, "byteLength": length}] * count)


def chain(header, count, links):
    """Nodes each of which is the parent of the next, once or more."""
    header["nodes"] = [{"mesh": 0, "children": [i + 1] * links if i < count - 1 else []} for i in range(count)]


HOSTILE = {
    "a long list": (lambda h: longer(h, count=2**31), r"at most [\d,]+ bytes of accessors, got 8,589"),
    "a list of matrices": (lambda h: longer(h, count=2**22, type="MAT4"), "bytes of accessors, got 268,43"),
    "a count below zero": (lambda h: longer(h, count=-1), "expected a count as count, got -1"),
    "a count of floats": (lambda h: longer(h, count=1e300), "expected a count as count, got 1e.300"),
    "a number of digits": (lambda h: longer(h, count=10**30), "whole number of 31 digits"),
    "views of one place": (lambda h: views(h, 65_600, 9), "at most 65,536 entries of a list, got 65,602"),
    "large views of one place": (lambda h: views(h, 10**4, 10**5), "bytes of views, got 1,000,000"),
    "meshes of one place": (
        lambda h: h["meshes"][0]["primitives"].extend(h["meshes"][0]["primitives"] * 17_000),
        "at most 134,217,728 numbers of meshes, got 1",
    ),
    "a long chain": (lambda h: chain(h, 2000, 1), "at most 524,288 steps from nodes to their roots, got 1,999,000"),
    "a node of many parents": (lambda h: chain(h, 41, 2), "steps from nodes to their roots, got"),
}
"""What glTF of a few bytes may say, and how it is met."""


@pytest.mark.parametrize("case", HOSTILE)
def test_gltf_takes_no_more_memory_than_its_bytes_allow(tmp_path, case):
    change, expected = HOSTILE[case]
    trimesh.creation.box((1, 1, 1)).export(tmp_path / "box.gltf")
    with edited(tmp_path / "box.gltf") as header:
        change(header)
    with pytest.raises(ValueError, match=rf"box\.gltf.*{expected}"):
        load_surface(tmp_path / "box.gltf")


@pytest.mark.parametrize("kind", ["gltf", "glb"])
def test_json_of_gltf_is_bounded_before_it_is_parsed(tmp_path, monkeypatch, kind):
    path = tmp_path / f"box.{kind}"
    trimesh.creation.box((1, 1, 1)).export(path)
    monkeypatch.setattr(gltf, "parse_json", None)
    monkeypatch.setattr(gltf, "LARGEST_HEADER", 100)
    with pytest.raises(ValueError, match="expected at most 100 bytes of JSON, got"):
        load_surface(path)


def test_a_mirrored_instance_looks_outwards_and_shares_its_texture(tmp_path):
    scene = trimesh.Scene()
    quad = textured_quad()
    for index, turn in enumerate((np.eye(4), np.diag([-1.0, 1, 1, 1]))):
        matrix = trimesh.transformations.translation_matrix([3 * index, 0, 0]) @ turn
        scene.add_geometry(quad, geom_name="quad", transform=matrix)
    scene.export(tmp_path / "two.glb")
    surface = load_surface(tmp_path / "two.glb")
    assert len(surface.textures) == 1 and len(surface.triangles) == 4
    assert (np.cross(*(surface.triangles[:, i] - surface.triangles[:, 0] for i in (1, 2)))[:, 2] > 0).all()
