"""Moved to `latent_nerfstudio.files.replacing`."""

from latent_nerfstudio.files.replacing import replacing_file, replacing_folder, write_text

__all__ = ["replacing_file", "replacing_folder", "write_text"]
