"""Moved to `latent_nerfstudio.engine.runs`."""

from latent_nerfstudio.engine.runs import Run, load_pipeline, open_run

__all__ = ["Run", "load_pipeline", "open_run"]
