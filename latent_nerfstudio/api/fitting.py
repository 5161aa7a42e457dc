"""Scenes from photos in one call: what `lns fit-scenes` does, from Python."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Optional, Sequence, Union

from latent_nerfstudio.api.loading import Source, load
from latent_nerfstudio.api.scenes import Scenes
from latent_nerfstudio.errors import few_of, problem
from latent_nerfstudio.files.places import as_path
from latent_nerfstudio.fleet.inventory import fit_scenes
from latent_nerfstudio.fleet.request import FitRequest
from latent_nerfstudio.method_configs.triplane import latent_triplane
from latent_nerfstudio.names import as_names


def fit(
    data: Source,
    output: Optional[Source] = None,
    bundle: Source = "bundled",
    scenes: Union[str, Sequence[str]] = (),
    steps: int = 300,
    device: Optional[str] = None,
    **settings: Any,
) -> Scenes:
    """Fits scenes against a shared bundle that stays as it is, and opens them.

    Args:
        data: folder of scene folders, one scene folder, or its transforms.json.
        output: folder as `lns fit-scenes` writes it; the same call again goes on where the last one ended. None keeps
            the scenes in memory alone: `Scenes.save` writes them.
        bundle: `bundled`, a run that holds one, the bundle's folder, or a Hub id.
        scenes: name or names of scenes; by default all.
        steps: of each scene; 0 for what the bundle's scene encoder predicts.
        device: `cpu` or `cuda`; by default the GPU, if there is one.
        settings: any other field of `FitRequest`: `rgb_alignment_start`, `eval_interval`, `workers`, `seed`, ...

    Returns:
        All scenes of the output folder, with `psnr` of held-out views, `seconds` and so on in `Scenes.facts`.

    Raises:
        FileNotFoundError: data or bundle are not there.
        ValueError: a value is out of its range, the output holds scenes of other settings, or scenes have failed; the
            message names them, and the others are in the output folder.
        TypeError: a setting that is no field of `FitRequest`.
        OSError: the output cannot be written.
    """
    if not isinstance(data, (str, Path)):
        do = "name one; lns.save_scene writes a scene of pictures and cameras"
        raise ValueError(problem("data", "a folder of scenes", f"a {type(data).__name__}", do))
    if output is None:
        with TemporaryDirectory() as folder:
            fitted = fit(data, folder, bundle, scenes, steps, device, **settings)
        fitted.source, fitted.title = str(data), Path(data).name
        return fitted
    known: Any = {**settings, "device": device}
    request = FitRequest(Path(data), as_path(output), str(bundle), as_names(scenes), steps, **known)
    *_, table = fit_scenes(request, latent_triplane.config)  # type: ignore[arg-type]
    if failed := table.failed():
        got = few_of(failed, words=lambda row: f"{row.name}: {row.reason}")
        do = "mend or leave out those, and call again; with output= the others are kept"
        raise ValueError(problem("fit", f"{len(table.rows)} scenes that can be fitted", got, do))
    return load(request.output / "scenes", bundle, device)
