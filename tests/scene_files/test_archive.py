"""Archives: round trips one at a time, and zips that are no archive or were made to harm."""

import json
import weakref
import zipfile

import pytest
from learned import equal, scene_of

from latent_nerfstudio.scene_files.archive import INDEX, read_archive, write_archive
from latent_nerfstudio.scene_files.scene_file import pack_scene


def index_of(*names, **changes):
    return json.dumps({"format": "scene-archive-v1", "bundle": "ab12", "scenes": list(names), **changes})


def zipped(path, members):
    """A zip of (name, contents) pairs; names may occur twice."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members:
            archive.writestr(zipfile.ZipInfo(name), data)
    return path


def test_scenes_come_back_in_order_and_any_program_reads_them(tmp_path):
    scenes = [scene_of(name, seed=i, facts={"number": i}) for i, name in enumerate(["b", "a ü", "c"])]
    path = tmp_path / "deep" / "scenes.zip"
    write_archive(path, scenes, "float32")
    got = list(read_archive(path))
    assert all(equal(a, b) for a, b in zip(scenes, got, strict=True))
    first = path.read_bytes()
    write_archive(path, scenes, "float32")
    assert path.read_bytes() == first
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert archive.read("c.safetensors") == pack_scene(scenes[2], "float32")
        assert json.loads(archive.read(INDEX)) == json.loads(index_of("b", "a ü", "c"))


def test_scenes_are_in_memory_one_at_a_time(tmp_path):
    """Neither writing nor reading 20 scenes holds more than two of them."""
    alive, most = weakref.WeakSet(), []

    def packed(count):
        for number in range(count):
            scene = scene_of(f"{number:03d}")
            alive.add(scene)
            yield scene
            del scene
            most.append(len(alive))

    write_archive(tmp_path / "scenes.zip", packed(20))
    for scene in read_archive(tmp_path / "scenes.zip"):
        alive.add(scene)
        most.append(len(alive))
    assert len(most) == 40 and max(most) <= 2


def test_a_failure_leaves_nothing(tmp_path):
    def files():
        yield scene_of("a")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_archive(tmp_path / "scenes.zip", files())
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("scenes", "message"),
    [
        ([], "at least one scene, got none"),
        ([scene_of("a"), scene_of("a")], "each scene once, got 'a' twice"),
        ([scene_of("a"), scene_of("b", bundle_hash="cd")], "scenes of the bundle ab12, got 'b' of cd"),
    ],
)
def test_what_makes_no_archive(tmp_path, scenes, message):
    with pytest.raises(ValueError, match=message):
        write_archive(tmp_path / "scenes.zip", scenes)
    assert not list(tmp_path.iterdir())


A = pack_scene(scene_of("a"))
GOOD = ("a.safetensors", A)


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([(INDEX, index_of())], "an index of names of scenes"),
        ([GOOD, (INDEX, index_of("a", "a"))], "each scene once, got 'a' twice"),
        ([GOOD, (INDEX, index_of(scenes=7))], "an index of names of scenes"),
        ([GOOD, (INDEX, index_of(scenes=[[]]))], "an index of names of scenes"),
        ([GOOD, (INDEX, "[]")], "a JSON object, got list"),
        ([GOOD, GOOD, (INDEX, index_of("a"))], "the scenes that it names alone, got 'some twice'"),
        ([GOOD, (INDEX, index_of("a")), (INDEX, index_of("a"))], "the scenes that it names alone, got 'some twice'"),
        ([("../a.safetensors", A), (INDEX, index_of("../a"))], "scene name: expected 1 to 200 bytes .* got '../a'"),
        ([("/a.safetensors", A), (INDEX, index_of("/a"))], "scene name"),
        ([("b.safetensors", A), (INDEX, index_of("b"))], "b.safetensors: expected the scene 'b', got 'a'"),
        ([("a.safetensors", A[:-1]), (INDEX, index_of("a"))], "a.safetensors: expected tensors as its header says"),
    ],
)
def test_other_zips_are_refused(tmp_path, members, message):
    with pytest.warns(UserWarning) if len(dict(members)) < len(members) else memoryview(b""):
        path = zipped(tmp_path / "scenes.zip", members)
    with pytest.raises(ValueError, match=message):
        list(read_archive(path))
    assert [p.name for p in tmp_path.iterdir()] == ["scenes.zip"]


def test_members_that_overlap_are_refused(tmp_path):
    """A bomb without packing: many names for the same bytes (Fifield 2019)."""
    path = tmp_path / "scenes.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.safetensors", A)
        archive.writestr(INDEX, index_of(*map(str, range(50))))
        first = archive.getinfo("a.safetensors")
        for number in range(50):
            again = zipfile.ZipInfo(f"{number}.safetensors")
            again.header_offset, again.CRC = first.header_offset, first.CRC
            again.file_size = again.compress_size = first.file_size
            archive.filelist.append(again)
        archive.filelist.remove(first)
    with pytest.raises(ValueError, match=rf"members of {path.stat().st_size} bytes at most"):
        next(read_archive(path))


def test_a_directory_of_empty_members_is_not_read(tmp_path):
    path = zipped(tmp_path / "scenes.zip", [(f"{number}.safetensors", b"") for number in range(3000)])
    with pytest.raises(ValueError, match="expected an archive of scenes, got .a directory of"):
        next(read_archive(path))


def test_every_changed_byte_gives_a_value_error_or_the_same_scene(tmp_path):
    """Bytes that the zip format ignores may change."""
    scene = scene_of("a", side=2)
    path = tmp_path / "scenes.zip"
    write_archive(path, [scene], "float32")
    data, found = path.read_bytes(), 0
    for place in range(len(data)):
        path.write_bytes(data[:place] + bytes([data[place] ^ 0x41]) + data[place + 1 :])
        try:
            scenes = list(read_archive(path))
        except ValueError:
            found += 1
        else:
            assert len(scenes) == 1
            assert equal(scenes[0], scene)
    assert found > 0.8 * len(data)
    for length in range(0, len(data), 7):
        path.write_bytes(data[:length])
        with pytest.raises(ValueError):
            list(read_archive(path))
