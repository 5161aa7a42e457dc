"""Which devices compute in bfloat16 by themselves."""

import pytest
import torch

from latent_nerfstudio.latent_space.precision import autocast, has_bfloat16

GPUS = {(7, 0): False, (7, 5): False, (8, 0): True, (8, 9): True, (12, 0): True}


@pytest.mark.parametrize(("capability", "expected"), GPUS.items())
def test_gpus_that_emulate_it_do_without(capability, expected, monkeypatch):
    """torch says of every GPU that it has bfloat16, of a T4 (7.5) and a V100 (7.0) too."""
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda *args, **kwargs: True)
    assert has_bfloat16(torch.device("cuda")) == expected


@pytest.mark.parametrize("has", [False, True])
def test_auto_follows_the_processor_and_words_are_obeyed(has, monkeypatch):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: has, raising=False)
    kinds = {}
    for precision in ("auto", "bfloat16", "float32"):
        with autocast(precision, "cpu"):
            kinds[precision] = (torch.ones(2, 2) @ torch.ones(2, 2)).dtype
    own = "bfloat16" if has else "float32"
    assert kinds == {"auto": getattr(torch, own), "bfloat16": torch.bfloat16, "float32": torch.float32}
