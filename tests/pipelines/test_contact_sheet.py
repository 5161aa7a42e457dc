"""The picture of a run."""

import numpy as np
import pytest
import torch
from PIL import Image
from tiny import pipeline_of, prepared

from latent_nerfstudio.pipelines.contact_sheet import (
    COLUMNS,
    HEADER,
    contact_row,
    grey_depth,
    measure_views,
    one_view_a_scene,
    stack_rows,
    write_contact_sheet,
)


def test_a_row_a_scene_of_any_size(balls, mixed_sizes, kl, tmp_path):
    pipeline = prepared(pipeline_of(balls, kl))
    path = write_contact_sheet(pipeline, tmp_path / "sheet.png", max_scenes=2)
    assert [file.name for file in tmp_path.iterdir()] == ["sheet.png"] and pipeline.training
    with Image.open(path) as sheet:
        assert sheet.size == (32 * len(COLUMNS), 2 * 32 + HEADER)
        photo = pipeline.datamanager.cached_eval[0]["image"].numpy()
        np.testing.assert_allclose(np.asarray(sheet)[HEADER : HEADER + 32, :32], photo, atol=1)
    view = one_view_a_scene(pipeline.eval())[1]
    row = contact_row(pipeline, view)
    photo, render, _, _, _, error, _ = row.split(32, dim=1)
    camera = pipeline.datamanager.eval_dataset.cameras[view : view + 1]
    torch.testing.assert_close(render, pipeline.model.get_outputs_for_camera(camera)["rgb"])
    torch.testing.assert_close(error, (4 * (render - photo).abs()).clamp(0, 1))
    assert float(row.min()) >= 0 and float(row.max()) <= 1
    pipeline = pipeline_of(mixed_sizes, kl)
    with Image.open(write_contact_sheet(pipeline, tmp_path / "sheet.png")) as sheet:
        assert sheet.size == (36 * len(COLUMNS), 20 + 21 + HEADER)


def test_measures_are_means_over_views(balls, kl):
    pipeline = prepared(pipeline_of(balls, kl))
    pipeline.train()
    views = one_view_a_scene(pipeline)
    assert len(views) == 3
    first, second, both = (measure_views(pipeline, chosen) for chosen in (views[:1], views[1:2], views[:2]))
    assert pipeline.training and {"psnr", "ssim", "autoencoder_psnr", "latent_psnr", "gap"} <= set(both)
    assert first["psnr"] != second["psnr"]
    for name, value in both.items():
        assert value == pytest.approx((first[name] + second[name]) / 2, rel=1e-5, abs=1e-5)
    assert both["gap"] == pytest.approx(both["autoencoder_psnr"] - both["psnr"])
    rows = pipeline.get_average_eval_image_metrics()
    assert (first["psnr"], second["latent_psnr"]) == pytest.approx((rows["a/psnr"], rows["b/latent_psnr"]))


def test_grey_depth_by_hand():
    depth = torch.tensor([[[1.0], [2.0], [3.0], [50.0]]])
    accumulation = torch.tensor([[[1.0], [0.9], [0.8], [0.1]]])
    torch.testing.assert_close(grey_depth(depth, accumulation)[0, :, 0], torch.tensor([0.9, 0.5, 0.1, 1.0]))
    assert bool((grey_depth(depth, torch.zeros(1, 4, 1)) == 1).all())


def test_narrow_rows_are_filled_with_white():
    sheet = stack_rows([torch.zeros(2, 5, 3), torch.zeros(1, 3, 3)])
    assert sheet.shape == (3, 5, 3) and bool((sheet[2, 3:] == 1).all()) and not bool(sheet[2, :3].any())
