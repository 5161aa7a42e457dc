"""Joint training: stages, who gets gradients, what each loss is, real images, masks, and latents that stay alive."""

import numpy as np
import pytest
import torch
from PIL import Image
from scene_folders import write_masks
from tiny import SHARED, fit, gradients, joint_pipeline_of, pipeline_of, prepared, small_nerf, write_ball

from latent_nerfstudio import load_bundle
from latent_nerfstudio.data import latent_datamanager
from latent_nerfstudio.fields.planes import total_variation
from latent_nerfstudio.latent_space.autoencoder import AutoencoderConfig
from latent_nerfstudio.latent_space.latent_space import as_float
from latent_nerfstudio.latent_space.resolution import mask_of_latent
from latent_nerfstudio.models.bundle_writing import write_shared_bundle
from latent_nerfstudio.pipelines.igae_pipeline import REFRESH_MOMENTUM, REFRESH_STEPS
from latent_nerfstudio.pipelines.joint_losses import latent_variation, without_scale

START = 3
"""First step of joint training in these tests."""


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Folder of real images: noise and stripes of several sizes."""
    folder = tmp_path_factory.mktemp("photos")
    for index, (height, width) in enumerate([(40, 60), (48, 33), (20, 90)]):
        picture = np.random.default_rng(index).integers(0, 256, (height, width, 3), dtype=np.uint8)
        picture[:, : width // 2] = np.arange(height, dtype=np.uint8)[:, None, None]
        Image.fromarray(picture).save(folder / f"{index}.png")
    return folder


def snapshot(pipeline):
    """Copies of all parameters by name, but for Nerfstudio's, by which modules know their device."""
    named = pipeline.named_parameters()
    return {name: value.detach().clone() for name, value in named if "device_indicator" not in name}


def moved(pipeline, before):
    """Names of the parameters that are not what they were, and of those that are."""
    names = {name for name, value in snapshot(pipeline).items() if not torch.equal(value, before[name])}
    return names, set(before) - names


def of_autoencoder(pipeline):
    return {name for name in snapshot(pipeline) if "autoencoder" in name}


def joint_losses(pipeline, step=START):
    pipeline.prepare()
    pipeline.train()
    return pipeline.get_train_loss_dict(step)[1]


def reached(pipeline, loss):
    """Which groups a loss gives a gradient to."""
    pipeline.zero_grad()
    loss.backward(retain_graph=True)
    return {name for name, group in pipeline.get_param_groups().items() if any(gradients(*group))}


def test_the_warm_up_is_latent_supervision_and_changes_nothing_of_the_autoencoder(balls, kl):
    """Step by step the same, whether or not joint training follows."""
    settings = {"nerf": small_nerf(**SHARED), "datamanager": {"scenes_per_batch": 3}}
    pipeline, plain = joint_pipeline_of(balls, kl), pipeline_of(balls, kl, **settings)
    for step in range(START):
        ours, theirs = (one.eval().get_train_loss_dict(step)[1]["latent_loss"] for one in (pipeline, plain))
        torch.testing.assert_close(ours, theirs)
    before = snapshot(pipeline)
    history = fit(pipeline, range(START))
    changed, kept = moved(pipeline, before)
    assert kept == of_autoencoder(pipeline) and len(changed) >= 5
    assert all({"latent_loss", "total_variation", "latent_mse"} == set(entry) for entry in history)


@pytest.mark.parametrize("source", ["kl", "dc"], indirect=True)
def test_joint_training_changes_every_parameter(balls, source):
    pipeline = prepared(joint_pipeline_of(balls, source))
    before = snapshot(pipeline)
    (history,) = fit(pipeline, [START])
    names, kept = moved(pipeline, before)
    assert not kept
    for part in ("encoder.", "decoder.", "micro_planes", "base_planes", "scene_weights", "mlp."):
        assert any(part in name for name in names)
    losses = {"latent_loss", "rgb_loss", "autoencoder_loss", "total_variation"}
    assert set(history) == losses | {"psnr", "residual", "latent_std"}


def test_the_identity_warms_up_throughout(balls):
    pipeline = joint_pipeline_of(balls)
    assert pipeline.stage_at(10**6) == "warm-up" and pipeline.second_stage_start is None
    assert sorted(pipeline.get_param_groups()) == ["mlp", "planes", "shared_planes"]
    before = snapshot(pipeline)
    (history,) = fit(pipeline, [1000])
    assert set(history) == {"latent_loss", "total_variation", "latent_mse"} and not moved(pipeline, before)[1]


@pytest.mark.parametrize(("crop", "normalizer"), [(None, "tanh"), (20, "mean-std")])
def test_losses_against_their_definitions(balls, kl, photos, crop, normalizer):
    """In evaluation mode, in which samples lie where they lay; total variation is a loss of training alone."""
    weights = {"latent_loss_weight": 0.5, "rgb_loss_weight": 3.0, "autoencoder_loss_weight": 0.7}
    real = {"real_images": photos, "real_images_per_batch": 2, "real_loss_weight": 0.2, "real_variation_weight": 0.3}
    pipeline = joint_pipeline_of(balls, kl, crop=crop, **weights, **real)
    pipeline.space.normalizer.kind = normalizer
    pipeline.eval()
    _, losses, metrics = pipeline.get_train_loss_dict(START)
    cameras, batch = pipeline.datamanager.next_train_images(START, crop)
    image, side = batch["image"], crop or 32
    assert image.shape == (4, side, side, 3)
    encoded, space = pipeline.space.encode(image), pipeline.space
    rendered, _ = pipeline.model.renderer.render_latents(cameras)
    photo = pipeline.real_images.batch(START, 2, crop)
    assert photo.shape == (2, side, side, 3)
    raw = space.autoencoder.encode(photo)
    decoded = space.decode(rendered, side, side)
    expected = {
        "latent_loss": 0.5 * (encoded - rendered).square().mean(),
        "rgb_loss": 3 * (image - decoded).square().mean(),
        "autoencoder_loss": 0.7 * (image - space.decode(encoded, side, side)).square().mean(),
        "real_loss": 0.2 * (photo - space.decode(space.encode(photo), side, side)).square().mean(),
        "real_variation": 0.3 * latent_variation(raw),
    }
    assert set(losses) == set(expected)
    for name, value in expected.items():
        torch.testing.assert_close(losses[name], value, atol=1e-6, rtol=1e-3, msg=name)
    assert float(metrics["psnr"]) == pytest.approx(float(-10 * (image - decoded).square().mean().log10()), abs=1e-3)
    assert float(metrics["latent_std"]) == float(space.normalizer.std.min())
    residual = (encoded - rendered).square().mean() / encoded.var()
    assert float(metrics["residual"]) == pytest.approx(float(residual), rel=1e-3)


def test_the_regularisers_keep_their_ratio_to_the_latent_loss_in_joint_training(balls, kl):
    pipeline = joint_pipeline_of(balls, kl)
    pipeline.train()
    outputs, losses, _ = pipeline.get_train_loss_dict(START)
    nerf = pipeline.model.nerf
    expected = nerf.config.total_variation_weight * total_variation(outputs["planes"])
    torch.testing.assert_close(losses["total_variation"], pipeline.config.latent_loss_weight * expected)


def test_bfloat16_is_near_float32_and_leaves_parameters_in_float32(balls, kl):
    exact, coarse = (joint_pipeline_of(balls, kl, autoencoder_precision=kind) for kind in ("float32", "bfloat16"))
    expected, losses = exact.eval().get_train_loss_dict(START)[1], coarse.eval().get_train_loss_dict(START)[1]
    for name, value in losses.items():
        assert value.dtype == torch.float32 and value != expected[name]
        torch.testing.assert_close(value, expected[name], atol=0, rtol=0.05)
    sum(losses.values()).backward()
    for parameter in coarse.space.autoencoder.encoder_parameters():
        assert parameter.dtype == parameter.grad.dtype == torch.float32


SCENES = {"planes", "shared_planes", "mlp"}


@pytest.mark.parametrize(
    ("stop", "groups", "of_rgb"),
    [("none", SCENES | {"encoder"}, SCENES), ("encoder", SCENES, set()), ("render", {"encoder"}, SCENES)],
)
def test_whom_each_loss_trains(balls, kl, photos, stop, groups, of_rgb):
    """The RGB loss the decoder alone, where it is asked for."""
    real = {"real_images": photos, "real_variation_weight": 0.1, "rgb_loss_trains_scenes": bool(of_rgb)}
    losses = joint_losses(pipeline := joint_pipeline_of(balls, kl, stop_gradient=stop, **real))
    assert reached(pipeline, losses["latent_loss"]) == groups
    assert reached(pipeline, losses["rgb_loss"]) == of_rgb | {"decoder"}
    assert reached(pipeline, losses["autoencoder_loss"]) == {"encoder", "decoder"}
    assert reached(pipeline, losses["total_variation"]) == {"planes", "shared_planes"}
    assert reached(pipeline, losses["real_loss"]) == {"encoder", "decoder"}
    assert reached(pipeline, losses["real_variation"]) == {"encoder"} and "real_lpips" not in losses


def test_an_rgb_loss_that_trains_the_encoder_as_well(balls, kl):
    """Its value stays, and so do the gradients of the others; the encoder gets that of the decoder's input."""
    plain, pipeline = (joint_pipeline_of(balls, kl, rgb_loss_trains_encoder=flag).eval() for flag in (False, True))
    expected, loss = (one.get_train_loss_dict(START)[1]["rgb_loss"] for one in (plain, pipeline))
    assert float(loss) == pytest.approx(float(expected), rel=1e-6)
    assert reached(pipeline, loss) == SCENES | {"decoder", "encoder"}
    cameras, batch = pipeline.datamanager.next_train_images(START)
    encoded = pipeline.space.encode(batch["image"])
    seen = pipeline.model.renderer.render_latents(cameras)[0].detach().requires_grad_()
    (upstream,) = torch.autograd.grad((pipeline.decode(seen, 32, 32) - batch["image"]).square().mean(), seen)
    pipeline.zero_grad()
    (without_scale(encoded) * upstream).sum().backward()
    wanted = [parameter.grad.clone() for parameter in pipeline.space.autoencoder.encoder_parameters()]
    pipeline.zero_grad()
    pipeline.get_train_loss_dict(START)[1]["rgb_loss"].backward()
    for parameter, gradient in zip(pipeline.space.autoencoder.encoder_parameters(), wanted, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, atol=1e-6, rtol=1e-3)


def test_renders_and_pictures_have_decoders_of_their_own(balls, kl, photos):
    """Which learn apart, begin alike, and are both in a checkpoint, whoever opens it, and in a bundle."""
    real = {"real_images": photos, "real_loss_weight": 1.0}
    one, pipeline = (joint_pipeline_of(balls, kl, separate_decoders=flag, **real) for flag in (False, True))
    expected, losses = one.eval().get_train_loss_dict(START)[1], pipeline.eval().get_train_loss_dict(START)[1]
    for name, loss in losses.items():
        torch.testing.assert_close(loss, expected[name], msg=name)
    decoders = [one.decoder_parameters() for one in (pipeline.space.autoencoder, pipeline.model.picture_decoder)]
    for name, of_renders, of_pictures in [("rgb", 1, 0), ("autoencoder", 0, 1), ("real", 0, 1), ("latent", 0, 0)]:
        pipeline.zero_grad()
        losses[f"{name}_loss"].backward(retain_graph=True)
        assert [any(gradients(*own)) for own in decoders] == [of_renders, of_pictures], name
    before = snapshot(pipeline)
    fit(pipeline, [START])
    assert not moved(pipeline, before)[1]
    other = joint_pipeline_of(balls, kl)
    other.load_state_dict(pipeline.state_dict())
    assert not moved(other, snapshot(pipeline))[0]
    with pytest.raises(ValueError, match="checkpoint: expected the weights of this model"):
        pipeline.load_state_dict(one.state_dict())


def test_a_bundle_with_both_decoders(balls, kl, tmp_path):
    pipeline = joint_pipeline_of(balls, kl, separate_decoders=True)
    fit(pipeline, [START])
    photo = as_float(pipeline.datamanager.cached_train[0]["image"])
    latents = pipeline.space.encode(photo[None])
    write_shared_bundle(tmp_path, pipeline.model, START, {})
    bundle = load_bundle(tmp_path)
    both = AutoencoderConfig(source=str(tmp_path)).setup()
    raw = pipeline.space.normalizer.inverse(latents)
    torch.testing.assert_close(both.decode(raw)[0].clamp(0, 1), pipeline.model.reconstruct(photo))
    render = pipeline.space.decode(latents, 32, 32).clamp(0, 1)
    torch.testing.assert_close(bundle.decode(raw.movedim(-1, 1)), render)


def test_real_images_are_not_enlarged_with_the_scenes_pictures(balls, kl, photos):
    settings = {"real_images": photos, "real_images_per_batch": 2, "real_loss_weight": 1.0}
    plain, enlarged = (joint_pipeline_of(balls, kl, **settings).eval() for _ in range(2))
    enlarged.space.autoencoder.enlarge = 2
    enlarged.prepare_real_images()
    losses = {one: one.get_train_loss_dict(START)[1] for one in (plain, enlarged)}
    assert float(losses[enlarged]["real_loss"]) == pytest.approx(float(losses[plain]["real_loss"]), rel=1e-5)
    assert abs(float(losses[enlarged]["autoencoder_loss"] / losses[plain]["autoencoder_loss"]) - 1) > 1e-2
    assert enlarged.space.autoencoder.enlarge == 2


def test_scenes_that_joint_training_leaves_alone(balls, kl):
    pipeline = joint_pipeline_of(balls, kl, update_scenes=False)
    fit(pipeline, range(START))
    before = snapshot(pipeline)
    history = fit(pipeline, range(START, START + 3))
    changed, kept = moved(pipeline, before)
    assert changed == of_autoencoder(pipeline) and kept
    assert set(history[0]) >= {"latent_loss", "rgb_loss", "autoencoder_loss"} and "total_variation" not in history[0]


def test_crops_first_and_whole_pictures_later(balls, kl, photos, monkeypatch):
    pipeline = prepared(joint_pipeline_of(balls, kl, crop=16, whole_pictures_start=5, real_images=photos))
    asked, manager, real = [], pipeline.datamanager, pipeline.real_images
    next_train_images, batch = manager.next_train_images, real.batch
    monkeypatch.setattr(manager, "next_train_images", lambda s, c: (asked.append(c), next_train_images(s, c))[1])
    monkeypatch.setattr(real, "batch", lambda s, n, c: (asked.append(c), batch(s, n, c))[1])
    fit(pipeline, range(START, 7))
    assert asked == [16] * 4 + [None] * 4


def test_flags_of_the_other_stages_and_too_few_scenes_or_images_are_refused(balls):
    for flag in ({"rgb_alignment_start": 5}, {"mixed_supervision": 0.5}):
        with pytest.raises(ValueError, match=f"{next(iter(flag))}: expected None.*latent-triplane"):
            joint_pipeline_of(balls, **flag)
    for name, most in (
        ("scenes_per_batch", "3 training .*, got 4; add scenes or"),
        ("images_per_batch", "15 .* got 16"),
    ):
        with pytest.raises(ValueError, match=f"{name}: expected at most the {most}"):
            joint_pipeline_of(balls, datamanager={name: 4 if name.startswith("s") else 16}).prepare()
    joint_pipeline_of(balls, datamanager={"images_per_batch": 15})


def test_the_seed_of_a_run_is_that_of_its_real_images(balls, kl, photos):
    batches = []
    for seed in (1, 2):
        pipeline = joint_pipeline_of(balls, kl, real_images=photos)
        pipeline.datamanager.seed = seed
        pipeline.prepare_real_images()
        batches.append(pipeline.real_images.batch(0, 4))
    assert not torch.equal(*batches)


def test_crops_of_real_images_are_as_large_as_the_largest_picture(mixed_sizes, kl, photos):
    manager = {"scenes_per_batch": 2, "images_per_batch": 2}
    pipeline = joint_pipeline_of(mixed_sizes, kl, real_images=photos, datamanager=manager)
    losses = joint_losses(pipeline)
    assert pipeline.real_images.size == (21, 36) and bool(losses["real_loss"].isfinite())


def test_lpips_of_real_images(balls, kl, photos):
    """Another distance stands in for its network."""
    pipeline = prepared(joint_pipeline_of(balls, kl, real_images=photos, real_lpips_weight=0.5))
    seen = []
    pipeline.lpips = lambda output, target: (seen.append((output, target)), (output - target).abs().mean())[1]
    losses = joint_losses(pipeline)
    (output, target) = seen[0]
    assert torch.equal(target, pipeline.real_images.batch(START, 8)) and output.shape == target.shape
    torch.testing.assert_close(losses["real_lpips"], 0.5 * (output - target).abs().mean())
    assert reached(pipeline, losses["real_lpips"]) == {"encoder", "decoder"}


def test_opening_a_run_needs_no_real_images(balls, kl, tmp_path):
    """Evaluation builds the pipeline as well, perhaps where the folder is not."""
    pipeline = joint_pipeline_of(balls, kl, real_images=tmp_path / "nowhere", real_lpips_weight=1.0)
    with pytest.raises(FileNotFoundError, match="real images .*nowhere: expected .* got no such folder"):
        pipeline.prepare()


def test_masked_pixels_count_for_nothing(tmp_path, kl):
    blocks = [np.kron(np.random.default_rng(i).random((6, 6)) > 0.4, np.ones((6, 6)))[:32, :32] for i in range(6)]
    data = write_ball(tmp_path, mode="RGB")
    write_masks(data, lambda index: blocks[index])
    weights = {f"{name}_loss_weight": 1.0 for name in ("latent", "rgb", "autoencoder")}
    settings = {**weights, "scale_free_latent_loss": False}
    pipeline = joint_pipeline_of(data, kl, datamanager={"scenes_per_batch": 1}, **settings).eval()
    _, losses, _ = pipeline.get_train_loss_dict(START)
    cameras, batch = pipeline.datamanager.next_train_images(START)
    image, mask, space = batch["image"], batch["mask"], pipeline.space
    encoded, (rendered, _) = space.encode(image), pipeline.model.renderer.render_latents(cameras)
    kept = torch.stack([mask_of_latent(one[..., 0], 4) for one in mask])
    assert 0.05 < float(kept.float().mean()) < 0.6
    torch.testing.assert_close(losses["latent_loss"], (encoded - rendered)[kept].square().mean())
    pixels = mask[..., 0]
    torch.testing.assert_close(losses["rgb_loss"], (space.decode(rendered, 32, 32) - image)[pixels].square().mean())
    reconstructed = space.decode(encoded, 32, 32)
    torch.testing.assert_close(losses["autoencoder_loss"], (reconstructed - image)[pixels].square().mean())


def test_crops_of_which_masks_leave_no_latent(tmp_path, kl):
    """Kept are columns at a border, and rows that fill no latent pixel."""

    def keep(_):
        mask = np.zeros((32, 32))
        mask[:, :10] = mask[5:7] = 1
        return mask

    data = write_ball(tmp_path, mode="RGB")
    write_masks(data, keep)
    manager = {"scenes_per_batch": 1, "images_per_batch": 1}
    pipeline = prepared(joint_pipeline_of(data, kl, crop=8, datamanager=manager))
    latent = [entry["latent_loss"] for entry in fit(pipeline, range(START, START + 12))]
    assert all(np.isfinite(latent)) and 0.0 in latent and any(latent)
    assert all(bool(parameter.isfinite().all()) for parameter in pipeline.parameters())


def test_normaliser_and_background_follow_the_objects_and_the_encoder(balls, kl):
    pipeline = joint_pipeline_of(balls, kl, joint_training_start=REFRESH_STEPS - 2, crop=8)
    start, space = pipeline.second_stage_start, pipeline.space
    pipeline.prepare()
    before = [space.background.clone(), space.normalizer.mean.clone(), space.normalizer.std.clone()]
    fit(pipeline, [start, start + 1])
    for value, expected in zip((space.background, space.normalizer.mean, space.normalizer.std), before, strict=True):
        assert torch.equal(value, expected)
    with torch.no_grad():
        pictures = pipeline.datamanager.next_train_images(REFRESH_STEPS)[1]["image"]
        encoded, factor = space.autoencoder.encode(pictures), space.downscale_factor
        footprints = pictures.unfold(1, factor, factor).unfold(2, factor, factor)
        raw = encoded[(footprints < 0.98).flatten(3).any(dim=-1)]
        assert 0 < len(raw) < encoded.flatten(0, 2).shape[0]
        plain = space.autoencoder.encode(torch.ones(1, 64, 64, 3))[0]
    fit(pipeline, [REFRESH_STEPS])
    _, mean, std = before
    mean, std = mean.lerp(raw.mean(dim=0), REFRESH_MOMENTUM), std.lerp(raw.std(dim=0, correction=0), REFRESH_MOMENTUM)
    torch.testing.assert_close(space.normalizer.mean, mean)
    torch.testing.assert_close(space.normalizer.std, std)
    torch.testing.assert_close(space.background, (plain - mean) / std, atol=2e-3, rtol=0)  # group norms of a plain
    assert float((space.background - before[0]).abs().max()) > 0.02  # picture divide by almost nothing


def test_the_normaliser_does_not_jump_when_joint_training_begins(balls, kl):
    pipeline = joint_pipeline_of(balls, kl, joint_training_start=0, crop=None)
    pipeline.datamanager.config.images_per_batch = len(pipeline.datamanager.train_dataset)
    pipeline.prepare()
    space = pipeline.space
    before = space.normalizer.mean.clone(), space.normalizer.std.clone()
    pipeline.refresh(0)
    for value, expected in zip((space.normalizer.mean, space.normalizer.std), before, strict=True):
        torch.testing.assert_close(value, expected, rtol=2e-3, atol=2e-3)  # latents of the cache are in half precision


def test_a_run_that_goes_on_in_joint_training_encodes_nothing(balls, kl, monkeypatch):
    first = joint_pipeline_of(balls, kl)
    fit(first, range(START + 2))
    stored = first.state_dict()

    def refuse(*_):
        raise AssertionError("pictures were encoded")

    monkeypatch.setattr(latent_datamanager, "scene_latents", refuse)
    second = joint_pipeline_of(balls, kl)
    second.load_pipeline(stored, START + 1)
    assert all(torch.equal(value, stored[name]) for name, value in second.state_dict().items())
    expected = first.eval().get_train_loss_dict(START + 2)[1]
    for name, value in second.eval().get_train_loss_dict(START + 2)[1].items():
        assert torch.equal(value, expected[name])
    third = joint_pipeline_of(balls, kl)
    third.load_pipeline(stored, START - 2)
    with pytest.raises(AssertionError, match="pictures were encoded"):
        third.prepare()


@pytest.mark.parametrize("scale_free", [True, False])
def test_whether_the_encoder_gains_by_latents_of_less_variance(balls, kl, scale_free):
    """What the gradient by their means and deviations is: `tests/pipelines/test_joint_losses.py`."""
    pipeline = joint_pipeline_of(balls, kl, scale_free_latent_loss=scale_free).eval()
    scale = torch.ones((), requires_grad=True)
    pipeline.prepare()
    pipeline.space.normalizer.register_forward_hook(lambda module, inputs, output: scale * output)
    (slope,) = torch.autograd.grad(pipeline.get_train_loss_dict(START)[1]["latent_loss"], scale)
    assert (abs(float(slope)) < 1e-6) == scale_free


@pytest.mark.parametrize("separate", [True, False])
def test_decoders_that_are_not_trained_stay_and_the_encoder_learns(balls, kl, separate):
    """As do base planes."""
    settings = {"separate_decoders": separate, "train_decoder": False, "train_base_planes": False}
    pipeline = joint_pipeline_of(balls, kl, **settings)
    assert "decoder" not in pipeline.get_param_groups() and not pipeline.model.nerf.field.base_planes.requires_grad
    losses = joint_losses(pipeline)
    assert "encoder" in reached(pipeline, losses["rgb_loss"] + losses["autoencoder_loss"])
    decoders = [pipeline.space.autoencoder, pipeline.model.decoder_of_pictures()]
    assert all(p.grad is None and not p.requires_grad for one in decoders for p in one.decoder_parameters())
