"""Scene files: round trips, the error of quantised planes, and files that are no scene's or were changed."""

import json
import os
import tracemalloc

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from learned import BOTH, MACRO, MICRO, bundle_of, equal, meta_of, model_of, raw_file, scene_of
from old_files import write_old_scene_file

from latent_nerfstudio.scene_files.scene_file import (
    check_numbers,
    copy_scene_file,
    dequantise,
    pack_scene,
    quantise,
    read_scene_file,
    write_scene_file,
)

PLANES = {"dtype": "F32", "shape": [3, 1, 1, 1], "data_offsets": [0, 12]}
"""Header entry of planes of twelve bytes."""


def written(path, data: bytes):
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("precision", ["float32", "float16", "int8"])
def test_a_copy_does_not_name_the_host(precision, tmp_path):
    """It is the file that there would be without the fact, to the last byte; a damaged file is not signed anew."""
    old, new, copy = (tmp_path / f"{name}.safetensors" for name in ("old", "new", "copy"))
    write_old_scene_file(old, scene_of(facts={"psnr": 31.25, "worker": "host-7:99"}), precision)
    write_scene_file(new, scene_of(facts={"psnr": 31.25}), precision)
    for source in (old, new):
        copy_scene_file(source, copy)
        assert copy.read_bytes() == new.read_bytes()
    data = old.read_bytes()
    with pytest.raises(ValueError, match="expected contents with the SHA-256"):
        copy_scene_file(written(old, data[:-1] + bytes([data[-1] ^ 1])), copy)


@pytest.mark.parametrize("precision", ["float32", "float16", "int8"])
@pytest.mark.parametrize("missing", [(), ("micro_planes",), ("scene_weights",)], ids=["both", "macro", "micro"])
def test_a_scene_comes_back_to_the_precision(tmp_path, precision, missing):
    facts = {"psnr": 31.25, "views": [1, 2], "cameras": {"height": 128}, "none": None}
    scene = scene_of("Wagen ü 7", facts=facts, **dict.fromkeys(missing))
    path = tmp_path / "deep" / "file.safetensors"
    count = write_scene_file(path, scene, precision)
    assert count == path.stat().st_size
    assert [p.name for p in path.parent.iterdir()] == ["file.safetensors"]
    got = read_scene_file(path)
    assert (got.name, got.bundle_hash, got.facts) == ("Wagen ü 7", "ab12", facts)
    for name in ("micro_planes", "scene_weights"):
        value, expected = getattr(got, name), getattr(scene, name)
        assert (value is None) == (expected is None) == (name in missing)
        assert value is None or (value.dtype, value.shape) == (torch.float32, expected.shape)
    if got.scene_weights is not None:
        assert torch.equal(got.scene_weights, scene.scene_weights)
    if got.micro_planes is not None:
        error = (got.micro_planes - scene.micro_planes).abs()
        largest = scene.micro_planes.abs().amax(dim=(2, 3), keepdim=True)
        # int8: half a scale, which is the largest over 127, rounded up by a part in 1024 at most.
        bounds = {"float32": 0.0, "float16": 2**-11 * scene.micro_planes.abs(), "int8": largest / 254 * (1 + 2**-9)}
        assert bool((error <= bounds[precision]).all())
        assert (error.max() == 0) == (precision == "float32")


def test_files_are_small_and_equal_scenes_make_equal_bytes(tmp_path):
    """With the rights of other files."""
    scene = scene_of(side=32)
    sizes = {p: write_scene_file(tmp_path / p, scene, p) for p in ("float32", "float16", "int8")}
    numbers = 3 * 4 * 32 * 32
    assert sizes["float32"] - 4 * numbers < 1000 > sizes["float16"] - 2 * numbers
    assert sizes["int8"] - numbers < 1000
    assert pack_scene(scene, "int8") == pack_scene(scene_of(side=32), "int8")
    alone = scene_of(micro_planes=None)
    assert write_scene_file(tmp_path / "weights", alone) < 600
    (tmp_path / "other").write_text("")
    assert os.stat(tmp_path / "weights").st_mode == os.stat(tmp_path / "other").st_mode


def test_planes_of_any_kind_are_taken_and_quantised_by_hand(tmp_path):
    planes = torch.randn(3, 2, 4, 4, requires_grad=True)
    write_scene_file(tmp_path / "a", scene_of(micro_planes=planes), "float32")
    write_scene_file(tmp_path / "b", scene_of(micro_planes=planes.detach().half().transpose(2, 3)), "float32")
    assert torch.equal(read_scene_file(tmp_path / "a").micro_planes, planes)
    assert torch.equal(read_scene_file(tmp_path / "b").micro_planes, planes.half().float().transpose(2, 3))
    planes = torch.tensor([127.0, -127.0, 0.4, 0.6, -0.6, 2.0]).view(1, 1, 1, 6)
    quanta, scales = quantise(torch.cat([planes, torch.zeros_like(planes)], dim=1))
    assert scales.tolist() == [[1.0, 0.0]]
    assert quanta[0, 0, 0].tolist() == [127, -127, 0, 1, -1, 2]
    assert dequantise(quanta, scales)[0, 1].abs().max() == 0


@settings(max_examples=200, deadline=None)
@given(st.floats(-12, 8), st.integers(0, 2**31), st.integers(1, 5))
def test_quantised_planes_are_off_by_half_a_scale_at_most(exponent, seed, side):
    planes = torch.randn(3, 2, side, side, generator=torch.Generator().manual_seed(seed)) * 10**exponent
    planes = planes.clamp(-65504 * 127, 65504 * 127)
    quanta, scales = quantise(planes)
    assert bool(scales.isfinite().all())
    assert int(quanta.min()) >= -127
    error = (dequantise(quanta, scales) - planes).double().abs()
    # The division and the product are rounded as well, by a part in 2^23 of the value.
    bound = scales.double()[..., None, None] / 2 + 2**-23 * planes.double().abs()
    assert bool((error <= bound).all())


@pytest.mark.parametrize(
    ("parts", "precision", "message"),
    [
        ({"micro_planes": None, "scene_weights": None}, "float32", "micro_planes, scene_weights or both, got neither"),
        ({"micro_planes": torch.zeros(2, 4, 8, 8)}, "float16", r"micro planes \[3, F, T, T\] in float16, got \[2, 4"),
        ({"micro_planes": torch.zeros(3, 4, 8, 7)}, "int8", r"expected micro planes \[3, F, T, T\] in int8"),
        ({"micro_planes": torch.zeros(3, 0, 8, 8)}, "int8", r"expected micro planes \[3, F, T, T\]"),
        ({"micro_planes": torch.zeros(3, 8, 8)}, "int8", r"expected micro planes \[3, F, T, T\]"),
        ({"scene_weights": torch.zeros(2, 1)}, "float32", r"scene weights \[M\] in float32, got \[2, 1\]"),
        ({"scene_weights": torch.zeros(0)}, "float32", r"expected scene weights \[M\]"),
        ({"micro_planes": torch.full((3, 1, 2, 2), torch.nan)}, "int8", "finite micro_planes, got NaN or infinity"),
        ({"scene_weights": torch.full((2,), torch.inf)}, "float32", "finite scene_weights, got NaN or infinity"),
        ({"micro_planes": torch.full((3, 1, 2, 2), -7e4)}, "float16", "within 65504, as float16 holds, got 70000"),
        ({"micro_planes": torch.full((3, 1, 2, 2), 1e7)}, "int8", "as int8 holds, got 1e[+]07; use float32"),
        ({"facts": {"psnr": float("nan")}}, "float16", "facts: expected JSON values"),
        ({"facts": {"psnr": torch.zeros(1)}}, "float16", "facts: expected JSON values, got 'Object of type Tensor"),
        ({"facts": {"text": "x" * (1 << 20)}}, "float16", "facts of less than 1048576 bytes"),
    ],
)
def test_scenes_that_make_no_file_are_refused(tmp_path, parts, precision, message):
    with pytest.raises(ValueError, match=message):
        write_scene_file(tmp_path / "scene", scene_of(**parts), precision)
    assert not list(tmp_path.iterdir())
    with pytest.raises(ValueError, match="precision: expected one of float16, float32, int8, got 'float64'"):
        check_numbers(scene_of(), "float64", "scene")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\x89PNG\r\n\x1a\n" + b"\x00" * 40, "expected a scene file, got a header of"),
        ((20).to_bytes(8, "little") + b"{}", "expected a JSON object|expected JSON|another kind"),
        ((17).to_bytes(8, "little") + b'{"a": {},"a": {}}', "a name that occurs twice"),
        ((2).to_bytes(8, "little") + b"{}", "got a safetensors file of another kind"),
        (raw_file({}, "\ud800"), "expected JSON"),
        (raw_file({}, meta_of(extra=1)), "the entries format, name"),
        (raw_file({}, json.dumps(meta_of(facts={"x": 0})).replace("0", "9" * 400)), "whole number of 400 digits"),
        (raw_file({}, meta_of(facts={"x": 1e-300})), r"facts: expected numbers up to 1e\+30, got 1e-300"),
        (raw_file({}, meta_of(precision="int4")), "a precision out of float16, float32, int8, got 'int4'"),
        (raw_file({}, meta_of()), "micro_planes, scene_weights or both, got neither"),
        (raw_file({"x": {**PLANES}}, meta_of(), b"\x00" * 12), "micro_planes, scene_weights or both, got 'x'"),
        (raw_file({"micro_planes": PLANES}, meta_of(), b"\x00" * 13), "tensors as its header says"),
        (raw_file({"micro_planes": PLANES}, meta_of(precision="int8"), b"\x00" * 12), "micro planes .* in int8"),
    ],
)
def test_foreign_and_hostile_files_are_refused(tmp_path, data, message):
    with pytest.raises(ValueError, match=message):
        read_scene_file(written(tmp_path / "x.safetensors", data))


def test_a_file_of_holes_takes_no_memory(tmp_path):
    """It is as long as its header says."""
    entry = {"dtype": "F32", "shape": [3, 1, 5_000, 5_000], "data_offsets": [0, 300_000_000]}
    path = written(tmp_path / "x.safetensors", raw_file({"micro_planes": entry}, meta_of()))
    with open(path, "ab") as file:
        file.truncate(path.stat().st_size + entry["data_offsets"][1])
    tracemalloc.start()
    with pytest.raises(ValueError, match="expected a file without holes"):
        read_scene_file(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1_000_000


def test_every_changed_or_missing_byte_is_found(tmp_path):
    """Of a small file: each byte inverted, and each shorter length."""
    scene = scene_of(micro_planes=torch.randn(3, 1, 2, 2), facts={"psnr": 1.5})
    data = pack_scene(scene, "int8")
    path = tmp_path / "x.safetensors"
    for place in range(len(data)):
        changed = data[:place] + bytes([data[place] ^ 0x15]) + data[place + 1 :]
        for bad in (changed, data[:place]):
            with pytest.raises(ValueError):
                read_scene_file(written(path, bad))
    assert equal(read_scene_file(written(path, data)), read_scene_file(path))


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    """Bundles of scenes with micro and macro planes, micro planes alone and macro planes alone."""
    folder = tmp_path_factory.mktemp("bundles")
    kinds = {"both": BOTH, "micro": MICRO, "macro": MACRO}
    return {name: bundle_of(folder / name, model_of(**kind)) for name, kind in kinds.items()}


@pytest.mark.parametrize(
    ("kind", "parts", "message"),
    [
        ("both", {}, None),
        ("both", {"micro_planes": None}, None),
        ("both", {"scene_weights": None}, None),
        ("both", {"micro_planes": torch.zeros(3, 4, 9, 9)}, r"micro_planes \[3, 4, 8, 8\], as .*, got \[3, 4, 9"),
        ("both", {"scene_weights": torch.zeros(3)}, r"scene_weights \[2\], as the bundle's scenes have, got \[3\]"),
        ("micro", {"scene_weights": None}, None),
        ("micro", {}, r"no scene_weights with this bundle, got \[2\]"),
        ("macro", {"micro_planes": None}, None),
        ("macro", {}, "no micro_planes with this bundle"),
    ],
)
def test_scenes_must_have_the_parts_of_their_bundle(tmp_path, bundles, kind, parts, message):
    bundle = bundles[kind]
    scene = scene_of(bundle_hash=bundle.hash, **parts)
    write_scene_file(tmp_path / "scene", scene, "float32")
    if message is None:
        assert equal(read_scene_file(tmp_path / "scene", bundle), scene)
    else:
        with pytest.raises(ValueError, match=message):
            read_scene_file(tmp_path / "scene", bundle)
