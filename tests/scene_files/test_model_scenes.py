"""Between files and models: the same pictures after a round trip, and whether a model still holds its bundle."""

from dataclasses import replace

import pytest
import torch
from learned import BOTH, MACRO, MICRO, bundle_of, equal, model_of, scene_of
from small_nerfs import small_nerfacto
from tiny import camera_of, latent_model_of, small_nerf

from latent_nerfstudio.models.latent_model import LatentModelConfig
from latent_nerfstudio.scene_files.model_scenes import (
    build_model,
    holds_bundle,
    put_scenes,
    scene_files_of,
    set_rendering,
)
from latent_nerfstudio.scene_files.scene_file import read_scene_file, write_scene_file

NAMES = ("a", "b", "c")


def started(bundle, names=NAMES):
    """A fresh model of a bundle, with as many samples a ray as `model_of`."""
    torch.manual_seed(5)
    config = LatentModelConfig(shared_bundle=str(bundle.folder), nerf=small_nerf())
    return build_model(config, names, bundle.box, bundle.background_color)


def picture(model, scene):
    index = model.scene_names.index(scene)
    return model.get_outputs_for_camera(camera_of(24, 16, scene=index), with_latents=True)


@pytest.mark.parametrize("kind", [MICRO, MACRO, BOTH], ids=["micro", "macro", "both"])
@pytest.mark.parametrize("source", ["identity", "kl"], indirect=True)
def test_a_scene_in_another_model_renders_the_same_bits(tmp_path, kind, source):
    model = model_of(NAMES, source, **kind)
    bundle = bundle_of(tmp_path, model)
    for scene in scene_files_of(model, bundle.hash, {"b": {"psnr": 30.0}}):
        write_scene_file(tmp_path / scene.name, scene, "float32")
    read = [read_scene_file(tmp_path / name, bundle) for name in ("c", "b")]
    assert [scene.facts for scene in read] == [{}, {"psnr": 30.0}]
    other = started(bundle, ("b", "c"))
    put_scenes(other, read)
    for name in ("b", "c"):
        expected, got = picture(model, name), picture(other, name)
        assert all(torch.equal(got[key], expected[key]) for key in ("rgb", "latent_channels", "depth", "accumulation"))
    assert not torch.equal(picture(other, "b")["rgb"], picture(other, "c")["rgb"])


def test_chosen_scenes_in_the_order_asked_for_are_copies():
    model = model_of(NAMES)
    scenes = list(scene_files_of(model, "ab", names=("c", "a")))
    assert [scene.name for scene in scenes] == ["c", "a"]
    assert torch.equal(scenes[0].micro_planes, model.nerf.field.micro_planes[2])
    assert torch.equal(scenes[1].scene_weights, model.nerf.field.scene_weights[0])
    with torch.no_grad():
        model.nerf.field.micro_planes.zero_()
    assert bool(scenes[0].micro_planes.any()) and not scenes[0].micro_planes.requires_grad


def test_missing_parts_are_zero():
    model = model_of(NAMES)
    put_scenes(model, [scene_of("b", micro_planes=None), scene_of("c", scene_weights=None)])
    field = model.nerf.field
    assert [bool(row.any()) for row in field.micro_planes] == [True, False, True]
    assert [bool(row.any()) for row in field.scene_weights] == [True, True, False]
    assert equal(list(scene_files_of(model, "ab12"))[2], replace(scene_of("c"), scene_weights=torch.zeros(2)))


@pytest.mark.parametrize(
    ("kind", "scene", "message"),
    [
        (BOTH, scene_of("x"), "scene: expected one of the model's, such as a, b, c, got 'x'"),
        (BOTH, scene_of("a", side=9), r"'a', micro_planes: expected \[3, 4, 8, 8\], as .*, got \[3, 4, 9"),
        (MICRO, scene_of("a"), r"scene_weights: expected nothing, as the model has, got \[2\]"),
    ],
)
def test_scenes_that_do_not_fit_are_refused(kind, scene, message):
    with pytest.raises(ValueError, match=message):
        put_scenes(model_of(NAMES, **kind), [scene])


def test_another_nerf_is_refused():
    model = latent_model_of(names=["a"], nerf=small_nerfacto())
    with pytest.raises(ValueError, match="expected tri-planes within the latent model, got a "):
        next(scene_files_of(model, "ab"))


@pytest.fixture(scope="module", params=["identity", "kl"])
def bundle(request, tmp_path_factory):
    return bundle_of(tmp_path_factory.mktemp("bundle"), model_of(source=request.getfixturevalue(request.param)))


def test_scenes_alone_leave_the_bundle_as_it_is_and_other_settings_are_found(bundle, tmp_path):
    model = started(bundle)
    assert holds_bundle(model, bundle)
    with torch.no_grad():
        model.nerf.field.micro_planes.add_(1)
        model.nerf.field.scene_weights.add_(1)
    assert holds_bundle(model, bundle)
    other = bundle_of(tmp_path, model_of(source="identity", **MICRO))
    assert not holds_bundle(started(bundle), other)
    assert not holds_bundle(started(other), bundle)
    shown_on_red = replace(bundle, background_color=[1.0, 0.0, 0.0])
    assert not holds_bundle(started(bundle), shown_on_red)


@pytest.mark.parametrize("part", ["mlp", "base_planes", "normalizer", "background", "box", "decoder", "encoder"])
def test_anything_shared_that_changed_is_found(bundle, part):
    """By one bit in one number."""
    model = started(bundle)
    space, field = model.latent_space, model.nerf.field
    if space.is_identity and part in ("decoder", "encoder"):
        pytest.skip("the identity has no weights")
    tensor = {
        "mlp": lambda: next(field.mlp.parameters()),
        "base_planes": lambda: field.base_planes,
        "normalizer": lambda: space.normalizer.mean,
        "background": lambda: space.background,
        "box": lambda: model.nerf.aabb,
        "decoder": lambda: space.autoencoder.decoder_parameters()[-1],
        "encoder": lambda: space.autoencoder.encoder_parameters()[0],
    }[part]()
    with torch.no_grad():
        flat = tensor.view(-1)
        flat[-1] = torch.nextafter(flat[-1], torch.tensor(torch.inf))
    assert not holds_bundle(model, bundle)


def test_a_bundle_in_half_precision_is_held_by_those_that_start_from_it(tmp_path, kl):
    """As the published one."""
    half = bundle_of(tmp_path, model_of(source=kl), dtype=torch.float16)
    assert half.tensors["field.base_planes"].dtype == torch.float16
    assert holds_bundle(started(half), half)


@pytest.mark.parametrize(
    ("facts", "times"),
    [
        ([{}], 1),
        ([{"enlarge": 2}], 2),
        ([{"enlarge": 2}, {"enlarge": 4}, {}], 4),
        ([{"enlarge": 3}, {"enlarge": 8}, {"enlarge": 0}, {"enlarge": -2}, {"enlarge": True}, {"enlarge": "2"}], 1),
    ],
)
def test_scenes_are_rendered_with_as_many_latent_pixels_as_they_were_learned_with(tmp_path, kl, facts, times):
    """What is no divisor of the autoencoder's factor, 4, is not believed."""
    config, bundle = LatentModelConfig(), bundle_of(tmp_path, model_of(NAMES, kl))
    set_rendering(config, bundle, {str(index): own for index, own in enumerate(facts)})
    assert config.autoencoder.enlarge == times
