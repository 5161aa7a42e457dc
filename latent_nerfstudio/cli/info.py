"""`lns info`: what a path or a Hub id is, and what it needs."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Iterator, List, Tuple

import tyro

if TYPE_CHECKING:
    from latent_nerfstudio.models.shared_bundle import SharedBundle

Line = Tuple[str, Any]
"""What is said, and its value."""

SHOWN = 10
"""Names of scenes that are listed at most."""

LONGEST = 2000
"""Letters of a value that are printed at most: facts of strangers may be of any length."""


@dataclass
class Info:
    """Says what something is, by name, hash and facts, and what it needs: a run, a scene file, an archive or folder of
    them, a shared bundle, an autoencoder, or a Hub id of one of these."""

    source: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="ANYTHING")]
    """Path, Hub id, or the name of a part of the package (`bundled`, ...)."""

    def main(self) -> None:
        from latent_nerfstudio.escaping import for_terminal

        for title, value in lines_of(self.source):
            text = ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else value
            print(f"{title + ':':16}{for_terminal(text, LONGEST)}")


def lines_of(source: str) -> Iterator[Line]:
    """What there is to say of a source: as a run, as scenes, as a bundle or as an autoencoder, whichever it is."""
    from latent_nerfstudio.api.loading import is_run
    from latent_nerfstudio.errors import problem
    from latent_nerfstudio.files.hub import is_hub_id
    from latent_nerfstudio.latent_space.shipped import (
        A_BUNDLE,
        AN_AUTOENCODER,
        BUNDLED,
        FOLDERS,
        SCENE_FILES,
        meant_by,
        what_is,
    )

    path = Path(source).expanduser()
    kind = what_is(FOLDERS.get(source, path))
    if is_run(path):
        yield from of_run(path)
    elif kind == SCENE_FILES:
        yield from of_scenes(path)
    elif kind == A_BUNDLE:
        yield from of_bundle(source)
    elif kind == AN_AUTOENCODER or source == "identity":
        yield from of_autoencoder(source)
    elif is_hub_id(source) and not path.exists():
        yield from of_hub(source)
    else:
        expected = "a run, scenes, a bundle, an autoencoder or a Hub id (owner/name)"
        raise FileNotFoundError(problem(source or "''", expected, *meant_by(source, (*BUNDLED, "identity"))))


def of_run(path: Path) -> Iterator[Line]:
    from latent_nerfstudio.engine.runs import open_run
    from latent_nerfstudio.latent_space.autoencoder import AutoencoderConfig

    run = open_run(path)
    yield "run", run.folder
    yield "method", run.method
    yield "scenes", listed(run.scenes())
    yield "checkpoint", run.latest_checkpoint().name
    for name in ("steps", "seconds", "bytes_per_scene", "bytes_shared", "device"):
        if name in run.training:
            yield name.replace("per", "a").replace("_", " "), run.training[name]
    yield "needs data", f"{run.data()} ({'there' if run.data().exists() else 'not there'}), to train on and for ns-eval"
    model: Any = run.config.pipeline.model
    named = [("shared bundle", model.shared_bundle)] if model.shared_bundle else []
    if not named or model.autoencoder.source != AutoencoderConfig().source:  # else the bundle's own is taken
        named.append(("autoencoder", model.autoencoder.source))
    yield "needs", ", ".join(f"{kind} {source}" for kind, source in named)


def of_scenes(path: Path) -> Iterator[Line]:
    from latent_nerfstudio.scene_files.sources import read_scenes_from

    scenes = [(scene.name, scene.facts, scene.bundle_hash) for scene in read_scenes_from([path])]
    facts = {name: own for name, own, _ in scenes}
    yield ("scene file" if path.suffix == ".safetensors" else "scenes in"), path
    yield "scenes", listed(list(facts))
    if len(facts) == 1:
        yield "facts", next(iter(facts.values()))
    psnr: List[float] = [own["psnr"] for own in facts.values() if isinstance(own.get("psnr"), (int, float))]
    if len(psnr) > 1:
        yield "PSNR", f"{min(psnr):.2f} to {max(psnr):.2f} dB, mean {sum(psnr) / len(psnr):.2f} of {len(psnr)}"
    yield "needs bundle", ", ".join(sorted(map(with_name, {bundle for *_, bundle in scenes})))


def with_name(named: str) -> str:
    """The hash of a bundle, with its name where it is part of the package."""
    from latent_nerfstudio.models.shared_bundle import SHIPPED

    return " ".join([named, *(f"({name})" for name, hashes in SHIPPED.items() if named in hashes)])


def of_bundle(source: str) -> Iterator[Line]:
    from latent_nerfstudio.models.shared_bundle import read_shared_bundle

    bundle: SharedBundle = read_shared_bundle(source)
    yield "shared bundle", bundle.folder
    yield "hash", bundle.hash
    yield "learned from", f"{bundle.num_scenes} scenes, until step {bundle.step}"
    yield "box", bundle.aabb
    yield "fields", bundle.field
    yield "facts", bundle.facts
    yield "autoencoder", bundle.autoencoder


def of_autoencoder(source: str) -> Iterator[Line]:
    from latent_nerfstudio.api.codec import load_autoencoder
    from latent_nerfstudio.latent_space.shipped import RETIRED

    codec = load_autoencoder(source, device="cpu")
    yield "autoencoder", codec
    yield "encoder hash", codec.autoencoder.encoder_hash()
    if source in RETIRED:
        yield "weights", "none here any more: runs of it bring their decoder, and nothing is encoded"
    yield "scaling factor", codec.scaling_factor


def of_hub(source: str) -> Iterator[Line]:
    """What a repository holds: scenes, else a bundle, else an autoencoder."""
    from latent_nerfstudio.files.hub import kind_of, resolve

    kind = kind_of(source)
    if kind == "scenes":
        yield from of_scenes(resolve(source, kind))
    else:
        yield from of_bundle(source) if kind == "bundle" else of_autoencoder(source)


def listed(names: List[str]) -> str:
    """How many, and the first of them."""
    return f"{len(names)}: {', '.join(names[:SHOWN])}{', ...' if len(names) > SHOWN else ''}"
