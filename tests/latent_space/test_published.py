"""Checkpoints of the published code: what they were built with, and the same outputs after the import."""

import zipfile

import pytest
import torch
from tiny import save_kl

from latent_nerfstudio.files import reading
from latent_nerfstudio.latent_space import published
from latent_nerfstudio.latent_space.published import autoencoder_state, build_autoencoder, infer_config, read_checkpoint
from latent_nerfstudio.latent_space.weights import OLD_ATTENTION

NEW_ATTENTION = {new: old for old, new in OLD_ATTENTION.items()}


def vae_of(levels=3, device="cpu", **settings):
    """An AutoencoderKL with random weights."""
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

    settings = {"block_out_channels": (4, 8, 8, 12, 16)[:levels], "norm_num_groups": 2, **settings}
    types = {"down_block_types": ("DownEncoderBlock2D",) * levels, "up_block_types": ("UpDecoderBlock2D",) * levels}
    with torch.device(device):
        return AutoencoderKL(**types, **settings).eval()


def old_names(state):
    """A state dict as diffusers before 0.18 wrote it."""
    renamed = {}
    for name, value in state.items():
        for new, old in NEW_ATTENTION.items():
            name = name.replace(f".attentions.0.{new}.", f".attentions.0.{old}.")
        renamed[name] = value
    return renamed


def imported(content, tmp_path, groups=2):
    """What from_pretrained reads after a checkpoint was saved, read, built and written."""
    from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL

    torch.save(content, tmp_path / "gvae_latest.pt")
    state = autoencoder_state(read_checkpoint(tmp_path / "gvae_latest.pt"), "file")
    build_autoencoder(infer_config(state, groups), state).save_pretrained(tmp_path / "out")
    return AutoencoderKL.from_pretrained(tmp_path / "out", low_cpu_mem_usage=False).eval()


@torch.no_grad()
def assert_same_outputs(one, other):
    pictures = torch.randn(2, 3, 32, 32)
    latents = [vae.encode(pictures).latent_dist.mode() for vae in (one, other)]
    assert torch.equal(*latents)
    assert torch.equal(*(vae.decode(latents[0]).sample for vae in (one, other)))


SHAPES = {
    "published": {"latent_channels": 16, "layers_per_block": 2},
    "one layer": {"levels": 2, "layers_per_block": 1},
    "no attention": {"mid_block_add_attention": False, "layers_per_block": 3},
    "no quant convolutions": {"use_quant_conv": False, "use_post_quant_conv": False, "levels": 1},
    "one quant convolution": {"use_post_quant_conv": False, "levels": 5},
}


@pytest.mark.parametrize("settings", SHAPES.values(), ids=SHAPES.keys())
def test_the_same_outputs_after_the_import(settings, tmp_path):
    vae = vae_of(**settings)
    assert_same_outputs(vae, imported({"vae": vae.state_dict(), "nerfs": [{}], "renderer": {}}, tmp_path))


WRAPPINGS = {
    "plain state dict": lambda state: state,
    "old attention": lambda state: {"vae": old_names(state)},
    "DDP": lambda state: {"vae": {f"module.{name}": value for name, value in state.items()}},
    "wrapper": lambda state: {**{f"module.vae.{n}": v for n, v in state.items()}, "module.other": torch.ones(2)},
    "half precision": lambda state: {"vae": {n: v.half() for n, v in state.items()}},
}


@pytest.mark.parametrize("wrap", WRAPPINGS.values(), ids=WRAPPINGS.keys())
def test_names_and_prefixes(wrap, tmp_path):
    vae = vae_of(2, latent_channels=3)
    result = imported(wrap(vae.state_dict()), tmp_path)
    if wrap is WRAPPINGS["half precision"]:
        vae = vae.half().float()
    assert_same_outputs(vae, result)
    assert next(result.parameters()).dtype == torch.float32


@pytest.mark.parametrize(
    ("widths", "channels", "factor", "parameters"),
    [
        ((128, 128, 256, 512), 16, 0.2614, 57_266_643),  # ostris/vae-kl-f8-d16
        ((128, 256, 512, 512), 4, 0.18215, 83_653_863),  # Stable Diffusion 1.5
    ],
)
def test_published_architectures_are_inferred(widths, channels, factor, parameters):
    settings = {"norm_num_groups": 32, "layers_per_block": 2, "latent_channels": channels, "scaling_factor": factor}
    vae = vae_of(4, "meta", block_out_channels=widths, **settings)
    assert sum(p.numel() for p in vae.parameters()) == parameters
    config = infer_config(through_old_names(vae.state_dict()))
    expected = dict(vae.config)
    assert {name: as_list(expected[name]) for name in config} == config
    left_out = {"act_fn", "sample_size", "shift_factor", "latents_mean", "latents_std", "force_upcast"}
    assert {name for name in expected if not name.startswith("_")} - set(config) <= left_out


def through_old_names(state):
    """Through the old names and back, shapes only."""
    return autoencoder_state({"vae": old_names(state)}, "file")


def as_list(value):
    return list(value) if isinstance(value, tuple) else value


def test_what_tensors_do_not_tell_can_be_given():
    state = vae_of().state_dict()
    assert infer_config(state, 2, 0.5)["scaling_factor"] == 0.5
    assert infer_config(vae_of(latent_channels=7).state_dict())["scaling_factor"] == 0.18215
    with pytest.raises(ValueError, match="--norm-num-groups"):
        build_autoencoder(infer_config(state), state)


def test_a_file_that_unfolds_is_refused(tmp_path, monkeypatch):
    state = vae_of(1).state_dict()
    torch.save(state, tmp_path / "whole.pt")
    with zipfile.ZipFile(tmp_path / "whole.pt") as whole, zipfile.ZipFile(tmp_path / "packed.pt", "w", 8) as packed:
        for name in whole.namelist():
            packed.writestr(name, whole.read(name) + bytes(10**6))
    with pytest.raises(ValueError, match="expected a checkpoint of torch.save, got its members are packed"):
        read_checkpoint(tmp_path / "packed.pt")
    with zipfile.ZipFile(tmp_path / "empty.pt", "w") as empty:
        for index in range(3):
            empty.writestr(f"{index}" * 60_000, b"")
    monkeypatch.setattr(reading, "MOST_DIRECTORY", 1 << 17)
    monkeypatch.setattr(reading, "ZipFile", None)  # the directory is not read
    with pytest.raises(ValueError, match=r"empty\.pt: expected a checkpoint of torch.save"):
        read_checkpoint(tmp_path / "empty.pt")
    monkeypatch.undo()
    torch.save({**state, "encoder.conv_in.weight": torch.zeros(1).expand(4096, 3, 3, 4096)}, tmp_path / "views.pt")
    with pytest.raises(ValueError, match="expected tensors that the file holds, got 150,"):
        published.check_held(autoencoder_state(read_checkpoint(tmp_path / "views.pt"), "views"), tmp_path / "views.pt")


@pytest.mark.parametrize(
    "content", [{}, [1, 2], torch.ones(3), {"model": torch.ones(1)}, {"vae": 3}, {1: torch.ones(2)}]
)
def test_no_autoencoder_in_it_or_two_of_them(content):
    with pytest.raises(ValueError, match="file: expected the state dict of one AutoencoderKL, .* got none"):
        autoencoder_state(content, "file")
    state = vae_of(1).state_dict()
    both = {f"{prefix}.{name}": value for prefix in ("vae", "ema") for name, value in state.items()}
    with pytest.raises(ValueError, match="got 2 of them"):
        autoencoder_state(both, "file")


def test_tensors_that_are_missing_unknown_or_of_another_shape():
    state = dict(vae_of().state_dict())
    config = infer_config(state, 2)
    state["decoder.extra.weight"] = state.pop("decoder.conv_norm_out.weight")
    state["encoder.conv_in.bias"] = torch.zeros(9)
    with pytest.raises(ValueError, match="expected weights that fit") as caught:
        build_autoencoder(config, state)
    message = str(caught.value)
    assert "1 missing (decoder.conv_norm_out.weight)" in message
    assert "1 unknown (decoder.extra.weight)" in message
    assert "1 of another shape (encoder.conv_in.bias)" in message
    with pytest.raises(ValueError, match="expected the weight decoder.conv_in.weight of a convolution"):
        infer_config({name: value for name, value in state.items() if not name.startswith("decoder")})


def test_a_config_of_its_own(tmp_path):
    folder = save_kl(tmp_path / "kl", scaling_factor=0.7)
    vae = vae_of(3, block_out_channels=(4, 4, 4), layers_per_block=1, mid_block_add_attention=False)
    assert build_autoencoder(published.read_config(folder), vae.state_dict()).config.scaling_factor == 0.7
    with pytest.raises(FileNotFoundError, match="expected a file, got nothing there"):
        published.read_config(tmp_path)
    for content, got in (('{"_class_name": "VQModel"}', "got one of VQModel"), ("[]", "expected a JSON object")):
        (tmp_path / "config.json").write_text(content)
        with pytest.raises(ValueError, match=got):
            published.read_config(tmp_path)
