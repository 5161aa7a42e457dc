"""Hub ids as folders: what is taken of a repository, the cache without a network, and what is refused."""

import json
import logging
import time
from pathlib import Path

import pytest
from huggingface_hub import constants

from latent_nerfstudio.api.loading import load
from latent_nerfstudio.files.hub import choose, is_hub_id, resolve
from latent_nerfstudio.latent_space.autoencoder import AutoencoderConfig
from latent_nerfstudio.models.shared_bundle import read_shared_bundle
from latent_nerfstudio.scene_files.sources import read_scenes_from

WEIGHTS = "diffusion_pytorch_model.safetensors"


def files_of(folder: Path, prefix: str = "") -> dict:
    """The files of a folder as a repository has them."""
    return {prefix + p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def names(folder: Path) -> list:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def cached_by_hand(cache: Path, repository: str, files: dict, revision: str = "main") -> Path:
    """A repository in the client's cache, as the client leaves it: blobs, a snapshot of links to them, and a ref."""
    folder, commit = cache / f"models--{repository.replace('/', '--')}", "0123456789" * 4
    (folder / "refs").mkdir(parents=True)
    (folder / "blobs").mkdir()
    (folder / "refs" / revision).write_text(commit)
    for number, (name, data) in enumerate(files.items()):
        blob, link = folder / "blobs" / f"{number:040x}", folder / "snapshots" / commit / name
        blob.write_bytes(data)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(blob)
    return folder / "snapshots" / commit


@pytest.fixture
def offline(tmp_path, monkeypatch):
    """An empty cache, and a client that was told to keep off the network."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_a_path_that_is_there_counts_first(tmp_path, monkeypatch, hub):
    (tmp_path / "owner" / "name").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert resolve("owner/name", "bundle") == Path("owner/name")
    assert hub.asked == []


@pytest.mark.parametrize("text", ["owner/name", "o-1/n.a_me", "owner/name@main", "owner/name@v1.0", "o/n@feature/x"])
def test_hub_ids(text):
    assert is_hub_id(text)


@pytest.mark.parametrize(
    "text", ["name", "a/b/c", "/a", "./a", "~/a", "a/", "a/b@", "a/..", "a/b..c", "a/b@x/../y", "a\\b", "a/b c", ""]
)
def test_what_is_no_hub_id(text):
    assert not is_hub_id(text)
    with pytest.raises(FileNotFoundError, match=r"bundle source: expected a path or a Hub id .* which is neither"):
        resolve(text or "nothing", "bundle")


def test_of_weights_in_two_precisions_the_full_ones_are_taken():
    half, full = (f"vae/diffusion_pytorch_model{kind}.safetensors" for kind in (".fp16", ""))
    assert choose("autoencoder", ["vae/config.json", half, full], None, "x") == ("vae", ["vae/config.json", full])
    assert choose("autoencoder", ["vae/config.json", half], None, "x") == ("vae", ["vae/config.json", half])
    with pytest.raises(ValueError, match="here: expected scene files .* got no file at all"):
        choose("scenes", [], None, "here")


@pytest.mark.parametrize("place", ["", "vae", "autoencoder", "shared_bundle/autoencoder"])
def test_an_autoencoder_of_the_hub_is_that_of_its_folder(hub, kl, place):
    others = {"README.md": b"x", "config.json": b"{}", "x.bin": b"pickle", "unet/big.safetensors": b"x"}
    hub.repositories["owner/vae"] = {**others, **files_of(kl, f"{place}/" if place else "")}
    folder = resolve("owner/vae", "autoencoder")
    assert folder.as_posix().endswith(place) and names(folder) == ["config.json", WEIGHTS]
    ours = AutoencoderConfig(source="owner/vae", subfolder=place or None).setup()
    assert ours.fingerprint() == AutoencoderConfig(source=str(kl)).setup().fingerprint()
    assert not any(path.endswith((".bin", ".md")) or "big" in path for path in hub.asked)


@pytest.mark.parametrize("prefix", ["", "shared_bundle/"])
def test_a_bundle_of_the_hub_is_that_of_its_folder(hub, run, prefix):
    extra = {"config.json": b"{}", "eval.json": b"{}"} if prefix else {"README.md": b"x"}
    hub.repositories["owner/bundle"] = {**files_of(run / "shared_bundle", prefix), **extra}
    assert read_shared_bundle("owner/bundle").hash == read_shared_bundle(str(run)).hash


def test_scenes_of_the_hub_come_with_their_bundle(hub, run):
    files = {**files_of(run / "scenes", "scenes/"), **files_of(run / "shared_bundle", "shared_bundle/")}
    hub.repositories["owner/balls"] = {**files, "other.safetensors": b"x", "scenes/deep/er.safetensors": b"x"}
    bundle = read_shared_bundle("owner/balls")
    scenes = list(read_scenes_from([Path("owner/balls")], bundle))
    assert sorted(scene.name for scene in scenes) == ["[blue]", "red"]
    assert not any(name.startswith(("other", "scenes/deep")) for name in names(resolve("owner/balls", "scenes")))


def test_subfolders_and_revisions_that_are_there_and_that_are_not(hub, kl):
    hub.repositories["owner/vae"] = files_of(kl)
    commit = hub.commit("owner/vae")
    assert commit in str(resolve(f"owner/vae@{commit}", "autoencoder"))
    with pytest.raises(FileNotFoundError, match="'owner/vae@v9': expected a branch, tag or commit behind the @"):
        resolve("owner/vae@v9", "autoencoder")
    hub.repositories["owner/whole"] = files_of(kl, "vae/")
    with pytest.raises(ValueError, match="'owner/whole': expected an autoencoder .* got vae/config.json"):
        resolve("owner/whole", "autoencoder", "vea")


def test_without_a_network_the_cached_copy_is_taken_or_no_answer_told_within_seconds(hub, kl, monkeypatch, caplog):
    hub.repositories["owner/vae"] = files_of(kl)
    first = resolve("owner/vae", "autoencoder")
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with caplog.at_level(logging.WARNING):
        assert resolve("owner/vae", "autoencoder") == first
    assert "the cached copy is taken" in caplog.text
    with pytest.raises(ValueError, match="as cached without network in .* expected a shared bundle"):
        resolve("owner/vae", "bundle")
    start = time.monotonic()
    with pytest.raises(ConnectionError, match="'owner/name': expected .* got ConnectError: .*refused"):
        resolve("owner/name", "bundle")
    assert time.monotonic() - start < 5


@pytest.mark.parametrize("kind", ["autoencoder", "bundle", "scenes"])
def test_a_cache_as_the_client_leaves_it_is_read_offline(offline, run, kind, caplog):
    files = {**files_of(run / "shared_bundle", "shared_bundle/"), **files_of(run / "scenes", "scenes/")}
    snapshot = cached_by_hand(offline, "owner/name", files)
    place = {"autoencoder": "shared_bundle/autoencoder", "bundle": "shared_bundle", "scenes": ""}[kind]
    assert resolve("owner/name", kind) == snapshot / place
    assert caplog.text == ""  # as it was told to
    if kind == "bundle":
        assert read_shared_bundle("owner/name").hash == read_shared_bundle(str(run)).hash
    if kind == "scenes":
        assert repr(load("owner/name")) == "Scenes(2 of owner/name: [blue], red)"


@pytest.mark.parametrize("repository", ["owner/name", "owner/name@v1"])
def test_neither_network_nor_cache(offline, kl, repository):
    cached_by_hand(offline, "owner/other", files_of(kl))
    cached_by_hand(offline, "owner/name2", files_of(kl))
    with pytest.raises(ConnectionError, match=f"'{repository}': expected a folder, or a Hub id that is cached or"):
        resolve(repository, "autoencoder")


def test_a_repository_that_does_not_exist_and_a_gated_one(hub):
    with pytest.raises(FileNotFoundError, match="'owner/nothing': expected a folder, or a Hub id that exists"):
        resolve("owner/nothing", "scenes")
    hub.gated.append("owner/gated")
    with pytest.raises(PermissionError, match="one that asks first .* accept its terms .* 'hf auth login'"):
        resolve("owner/gated", "autoencoder")


@pytest.mark.parametrize("name", ["diffusion_pytorch_model.bin", "model.ckpt", "gvae_latest.pt", "vae/x.pkl"])
def test_pickle_is_refused_and_never_downloaded(hub, name):
    hub.repositories["owner/old"] = {"config.json": b"{}", "vae/config.json": b"{}", name: b"pickle"}
    with pytest.raises(ValueError, match=rf"got {name}, which may run code when it is read; ask its owner"):
        resolve("owner/old", "autoencoder")
    assert len(hub.asked) == 1


@pytest.mark.parametrize("name", ["../evil.safetensors", "scenes/../../evil.safetensors", "/etc/x", "scenes\\..\\x"])
def test_names_that_lead_out_of_the_repository(hub, name):
    hub.repositories["owner/evil"] = {"scenes/a.safetensors": b"x", name: b"x"}
    with pytest.raises(ValueError, match="expected files within the repository, got .*; do not trust this repository"):
        resolve("owner/evil", "scenes")
    assert len(hub.asked) == 1


def test_a_huge_json_file(hub, kl):
    hub.repositories["owner/big"] = {**files_of(kl), "config.json": json.dumps({"x": "y" * (1 << 22)}).encode()}
    with pytest.raises(ValueError, match="config.json: expected 4194304 bytes at most, got 41943"):
        resolve("owner/big", "autoencoder")
