"""The model card of what is published: what was measured and noted on the way, and what its author says."""

from pathlib import Path
from typing import Any, Dict, List, Sequence

from huggingface_hub import ModelCard, ModelCardData

from latent_nerfstudio.engine.summary import MOST_BYTES, is_outdated
from latent_nerfstudio.escaping import markdown_table
from latent_nerfstudio.files.hub import Kind, is_hub_id
from latent_nerfstudio.files.reading import read_json
from latent_nerfstudio.models.metrics import PICTURE_METRICS

PICTURE = "scenes.webp"
"""The card's picture."""

LIBRARY = "latent-nerfstudio"
TAGS = ("nerfstudio", "nerf", "latent-nerf", "3d")
UNKNOWN = "Not stated."

METRICS = (*PICTURE_METRICS, "latent_psnr")
"""Of ns-eval, in the order of the table."""

SCENE_FACTS = {
    "psnr": "PSNR of held-out views, dB: mean (range)",
    "seconds": "seconds of training a scene: mean (range)",
    "steps": "steps of a scene: mean (range)",
}
"""Titles of the facts of scenes that are summed up."""

TITLES: Dict[Kind, str] = {
    "autoencoder": "Autoencoder for latent NeRFs",
    "bundle": "Shared bundle of latent NeRFs",
    "scenes": "Learned scenes",
}

WORDS: Dict[Kind, str] = {
    "autoencoder": "An image autoencoder in diffusers format, for NeRFs in its latent space.",
    "bundle": "What scenes of a family share and new ones are fitted against: autoencoder, base planes, tiny MLP.",
    "scenes": "Scenes learned in a latent space: micro planes and scene weights of each, one file a scene.",
}

LOADING: Dict[Kind, str] = {
    "autoencoder": "ns-train latent-triplane --data SCENES --pipeline.model.autoencoder.source {id}",
    "bundle": "ns-train latent-triplane --data SCENES --pipeline.model.shared-bundle {id}\n"
    "lns fit-scenes SCENES --output fitted --bundle {id}",
    "scenes": "lns import-scenes {id} --bundle {bundle} --output outputs/imported",
}


def card_of(package: Any, repository: str) -> ModelCard:
    """The model card of a `Package`: what its files tell, what training.json and eval.json of its run hold, which may
    be nothing, and what its author notes."""
    kind, facts, notes = package.kind, package.facts, package.notes
    bundle = repository if package.takes_bundle_along else package.place
    training, results = (read_beside(package.folder, name) for name in ("training.json", "eval.json"))
    if any(is_outdated(results, at / "nerfstudio_models") for at in (package.folder, *package.folder.parents[:2])):
        results = {}
    data = ModelCardData(
        license=notes.licence or None,
        library_name="diffusers" if kind == "autoencoder" else LIBRARY,
        tags=[*TAGS, kind],
        base_model=bundle if kind == "scenes" and bundle != repository and is_hub_id(bundle or "") else None,
    )
    loading = LOADING[kind].format(id=repository, bundle=bundle or "BUNDLE")
    trained = {title: facts[title] for title in (SCENE_FACTS["steps"], SCENE_FACTS["seconds"]) if title in facts}
    seen = {title: facts[title] for title in (SCENE_FACTS["psnr"],) if title in facts}
    rest = {title: value for title, value in facts.items() if title not in {**trained, **seen}}
    sections = [
        ("What it is", [notes.description or WORDS[kind], "", *table(rest)]),
        ("Data", [notes.data or UNKNOWN]),
        ("Training", table({**training_facts(training), **trained}) or [UNKNOWN]),
        ("Measured", table(seen) or measured(results.get("results"))),
        ("Use", ["```", f"pip install {LIBRARY}", loading, "```", *python_use(kind, repository)]),
        ("Licence", [notes.licence or UNKNOWN]),
    ]
    shown = "" if package.picture is None else f"![{TITLES[kind]}]({PICTURE})\n\n"
    text = shown + "\n\n".join("\n".join([f"## {title}", "", *lines]) for title, lines in sections)
    return ModelCard(f"---\n{data.to_yaml()}\n---\n\n# {notes.title or TITLES[kind]}\n\n{text}\n")


def python_use(kind: Kind, repository: str) -> List[str]:
    """How it is loaded in Python: an autoencoder without this package."""
    if kind != "autoencoder":
        name = "load" if kind == "scenes" else "load_bundle"
        return ["", f'or `latent_nerfstudio.{name}("{repository}")` in Python.']
    code = f'AutoencoderKL.from_pretrained("{repository}")'
    return ["", f"or `{code}` of diffusers (the class is that of `config.json`); pictures are in [-1, 1]."]


def table(facts: Dict[str, Any]) -> List[str]:
    """Lines of a table of facts; none of no facts."""
    rows = [(name, f"{value:.4g}" if isinstance(value, float) else value) for name, value in facts.items()]
    return markdown_table(["", ""], rows, "---") if rows else []


def training_facts(training: Dict[str, Any]) -> Dict[str, Any]:
    facts = {name: training[name] for name in ("method", "steps", "seconds", "device") if name in training}
    scenes = training.get("scenes")
    return {**facts, "scenes": len(scenes)} if isinstance(scenes, list) and scenes else facts


def measured(results: Any) -> List[str]:
    """A table of metrics, and how they came about."""
    results = results if isinstance(results, dict) else {}
    rows = {name.replace("_", " "): f"{results[name]:.3f}" for name in METRICS if isinstance(results.get(name), float)}
    if not rows:
        return ["Not measured."]
    return [*table(rows), "", "By `ns-eval` on held-out views of its run; decibels but for SSIM and LPIPS."]


def spread(values: Sequence[float]) -> str:
    """Mean and range of a number of scenes."""
    return f"{sum(values) / len(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def read_beside(folder: Path, name: str) -> Dict[str, Any]:
    """A JSON object in a folder or one of the two above it, where the run that wrote it has it; empty for none."""
    for path in (place / name for place in (folder, *folder.parents[:2])):
        if path.is_file():
            return read_json(path, "remove it, or write it again", MOST_BYTES, strict=False)
    return {}
