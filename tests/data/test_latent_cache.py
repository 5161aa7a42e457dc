"""The latent cache: what is found again, what is not, and what it leaves on disk."""

import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny import full_disk, save_kl

from latent_nerfstudio.data import latent_cache
from latent_nerfstudio.data.latent_cache import cache_folder, encode_images, scene_latents
from latent_nerfstudio.data.storage import Lazy
from latent_nerfstudio.latent_space import autoencoder as space_autoencoder
from latent_nerfstudio.latent_space.autoencoder import AutoencoderConfig

SCENES = [0, 0, 1, 1, 1]


def encode_scenes(images, *args, **options):
    latents = {}
    for members, encoded in scene_latents(images, *args, **options):
        latents.update(zip(members, encoded, strict=True))
    return [latents[i] for i in range(len(images))]


class Counter:
    """An autoencoder that notes how many pictures it encodes at once."""

    def __init__(self, source):
        self.autoencoder = AutoencoderConfig(source=str(source)).setup()
        self.plain = AutoencoderConfig(source=str(source)).setup()
        self.sizes, encode = [], self.autoencoder.encode
        self.autoencoder.encode = lambda images: (self.sizes.append(len(images)), encode(images))[1]

    def __call__(self, images, setting, scenes=SCENES, **options):
        self.sizes.clear()
        latents = encode_scenes(images, scenes, self.autoencoder, str(setting), **options)
        return latents, sum(self.sizes)


@pytest.fixture
def counter(kl):
    return Counter(kl)


@pytest.fixture
def images():
    """Pictures of two sizes, in turn."""
    generator = torch.Generator().manual_seed(0)
    sizes = [(17, 20) if k % 2 else (12, 9) for k in range(len(SCENES))]
    return [torch.randint(256, (h, w, 3), dtype=torch.uint8, generator=generator) for h, w in sizes]


def files_of(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


@torch.no_grad()
def assert_right(latents, images, autoencoder):
    """Each latent is its own picture's, in half precision."""
    assert len(latents) == len(images)
    for latent, image in zip(latents, images, strict=True):
        assert latent.dtype == torch.float16 and latent.device.type == "cpu"
        expected = autoencoder.encode(image[None].float() / 255)[0]
        deviation = (latent.float() - expected).square().mean().sqrt() / expected.std()
        assert deviation < 2e-2  # they may be encoded in bfloat16


@pytest.mark.parametrize("setting", ["memory", "disk", "folder"])
def test_latents_are_those_of_the_pictures_in_their_order(counter, images, setting, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = {"memory": "memory", "disk": "disk", "folder": tmp_path / "folder"}[setting]
    latents, encoded = counter(images, folder, batch_size=2)
    assert encoded == 5
    assert_right(latents, images, counter.autoencoder)
    again, encoded = counter(images, folder)
    assert encoded == (5 if setting == "memory" else 0)
    assert all(torch.equal(a, b) for a, b in zip(again, latents, strict=True)) or setting == "memory"
    assert_right(again, images, counter.autoencoder)
    files = files_of(tmp_path)
    assert len(files) == (0 if setting == "memory" else 2)
    assert all(path.name.endswith(".latents-v1.safetensors") for path in files)
    assert all(path.parents[1].name == latent_cache.encoding_hash(counter.autoencoder) for path in files)


def test_where_they_are_kept(tmp_path, monkeypatch):
    assert cache_folder("memory") is None
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder("disk") == tmp_path / "latent-nerfstudio" / "latents"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert cache_folder("disk") == tmp_path / "home" / ".cache" / "latent-nerfstudio" / "latents"
    assert cache_folder("~/latents") == tmp_path / "home" / "latents"


def test_encoded_in_bfloat16_where_the_device_has_it_and_kept_apart(counter, images, tmp_path, monkeypatch):
    found = {}
    for has in (False, True):
        monkeypatch.setattr(latent_cache, "has_bfloat16", lambda device, has=has: has)
        monkeypatch.setattr(latent_cache, "autocast", lambda kind, device, has=has: torch.autocast("cpu", enabled=has))
        found[has], encoded = counter(images, tmp_path)
        assert encoded == 5
    exact = [counter.autoencoder.encode(image[None].float() / 255)[0].half() for image in images]
    torch.testing.assert_close(found[False], exact, atol=2e-3, rtol=2e-3)
    error = torch.cat([(a - b).float().flatten() for a, b in zip(found[True], exact, strict=True)]).std()
    assert 0 < error < 1e-2 * torch.cat([one.float().flatten() for one in exact]).std()


def test_what_is_encoded_again(counter, images, tmp_path):
    """A scene whose picture changed or whose pictures change places, and all of another encoder."""
    counter(images, tmp_path)
    with torch.no_grad():
        for parameter in counter.autoencoder.decoder_parameters():
            parameter.add_(1)
    assert counter(images, tmp_path)[1] == 0
    changed = images[0].clone()
    changed[3, 4, 1] += 1
    other = Counter(save_kl(tmp_path / "other", seed=1))
    swapped = [images[1], images[0], *images[2:]]
    for encoder, given, count in ((counter, [changed, *images[1:]], 2), (counter, swapped, 2), (other, images, 5)):
        latents, encoded = encoder(given, tmp_path)
        assert encoded == count
        assert_right(latents, given, encoder.plain)


@pytest.mark.parametrize("damage", ["truncated", "empty", "other", "a bit"])
def test_a_damaged_file_is_replaced(counter, images, tmp_path, damage):
    counter(images, tmp_path)
    small, large = sorted(files_of(tmp_path), key=lambda path: path.stat().st_size)
    whole = large.read_bytes()
    content = {"truncated": whole[: len(whole) // 2], "empty": b"", "other": small.read_bytes(), "a bit": None}[damage]
    content = whole[:-1] + bytes([whole[-1] ^ 1]) if content is None else content
    large.write_bytes(content)
    latents, encoded = counter(images, tmp_path)
    assert encoded == 3
    assert_right(latents, images, counter.autoencoder)
    assert large.read_bytes() == whole


def test_a_cpu_is_given_no_more_pixels_than_its_caches_hold(counter, images, monkeypatch):
    for pixels, expected in ((2 * 12 * 9, [2, 1, 1, 1]), (1, [1] * 5), (1 << 17, [3, 2])):
        counter.sizes.clear()
        monkeypatch.setattr(space_autoencoder, "PIXELS_ON_CPU", pixels)
        assert_right(encode_images(images, counter.autoencoder, 32), images, counter.plain)
        assert counter.sizes == expected


def test_scenes_come_one_by_one_and_pictures_are_asked_for_in_batches(counter, images, tmp_path):
    asked = []
    lazy = Lazy(len(images), lambda i: asked.append(i) or images[i])
    scenes = scene_latents(lazy, SCENES, counter.autoencoder, "memory", batch_size=2)
    members, latents = next(scenes)
    assert members == [0, 1] and asked[-2:] == [0, 1]  # the type check asks for one, too
    assert_right(latents, images[:2], counter.autoencoder)
    assert [members for members, _ in scenes] == [[2, 3, 4]]
    assert_right(encode_scenes(lazy, SCENES, counter.autoencoder, str(tmp_path)), images, counter.autoencoder)


def test_identity_keeps_the_pictures(images, tmp_path):
    autoencoder = AutoencoderConfig(source="identity").setup()
    latents = encode_scenes(images, SCENES, autoencoder, str(tmp_path))
    assert all(torch.equal(a, b) for a, b in zip(latents, images, strict=True)) and files_of(tmp_path) == []


def test_latents_do_not_depend_on_what_is_encoded_beside_them(counter, images, tmp_path):
    """To the last bit: a cache that was half filled when a run was killed gives the resumed one the same latents. Files
    of older versions have no checksum."""
    whole, _ = counter(images, tmp_path / "whole")
    counter(images[2:], tmp_path / "half", scenes=[7, 7, 7])  # what is kept knows no number of its scene
    half, encoded = counter(images, tmp_path / "half")
    assert encoded == 2 and all(torch.equal(a, b) for a, b in zip(whole, half, strict=True))
    whole, _ = counter(images, tmp_path)
    for path in files_of(tmp_path):
        save_file(load_file(path), path)
    again, encoded = counter(images, tmp_path)
    assert encoded == 0 and all(torch.equal(a, b) for a, b in zip(whole, again, strict=True))


def test_a_full_disk_is_no_error(counter, images, tmp_path, capsys):
    with full_disk(100):
        latents, _ = counter(images, tmp_path)
    assert "latents: not kept on disk" in capsys.readouterr().out and files_of(tmp_path) == []
    assert_right(latents, images, counter.autoencoder)


def test_a_cache_that_is_removed_under_a_run_or_filled_by_two(counter, images, tmp_path):
    """Between the look for a scene's file and its reading, and before another one's writing. Scene by scene, by turns:
    each writes every file, the other's is replaced by the same."""
    counter(images, tmp_path / "cache")
    scenes = scene_latents(images, SCENES, counter.autoencoder, str(tmp_path / "cache"))
    found = list(next(scenes)[1])
    shutil.rmtree(tmp_path / "cache")
    latents = found + [latent for _, part in scenes for latent in part]
    assert_right(latents, images, counter.autoencoder)
    assert len(files_of(tmp_path / "cache")) == 1
    runs = [scene_latents(images, SCENES, counter.autoencoder, str(tmp_path)) for _ in range(2)]
    parts = [part for pair in zip(*runs, strict=True) for part in pair]
    assert all(torch.equal(a, b) for a, b in zip(parts[0][1] + parts[2][1], parts[1][1] + parts[3][1], strict=True))
    assert counter(images, tmp_path)[1] == 0
