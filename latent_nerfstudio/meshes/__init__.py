"""Meshes to scenes on disk: generated cars or mesh files, ray-cast from the upper hemisphere."""
