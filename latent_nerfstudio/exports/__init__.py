"""Scenes as what other programs open: coloured point clouds and meshes, in the units of the scene."""
