"""Colour heads of Nerfstudio's fields, widened."""

import math

import pytest
import torch
from nerfstudio.field_components import mlp as nerfstudio_mlp
from nerfstudio.field_components.field_heads import DensityFieldHead, PredNormalsFieldHead, RGBFieldHead
from nerfstudio.field_components.mlp import MLP
from small_nerfs import LINEAR
from torch import nn

from latent_nerfstudio.fields.heads import Bounded, ScaledSoftplus, bound, color_heads, widen


def color_mlp(layers=3, **settings):
    torch.manual_seed(0)
    settings = {"out_dim": 3, "out_activation": nn.Sigmoid(), **settings}
    return MLP(in_dim=5, num_layers=layers, layer_width=8, **settings)


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_an_mlp_keeps_its_hidden_layers(layers):
    mlp, features = color_mlp(layers), torch.randn(7, 2, 5)
    hidden = [(layer.weight.clone(), layer.bias.clone()) for layer in mlp.layers[:-1]]
    widen(mlp, 16, LINEAR)
    assert mlp(features).shape == (7, 2, 16)
    x = features
    for weight, bias in hidden:
        x = torch.relu(x @ weight.T + bias)
    last = mlp.layers[-1]
    torch.testing.assert_close(mlp(features), x @ last.weight.T + last.bias)
    assert mlp.get_out_dim() == 16


def test_a_field_head_becomes_linear():
    head, features = RGBFieldHead(in_dim=6), torch.randn(9, 6)
    widen(head, 4, LINEAR)
    torch.testing.assert_close(head(features), features @ head.net.weight.T + head.net.bias)
    assert head(features).shape == (9, 4) and head.get_out_dim() == 4


def test_with_tiny_cuda_nn_the_network_is_built_anew(monkeypatch):
    class Network(nn.Module):
        def __init__(self, n_input_dims, n_output_dims, network_config):
            super().__init__()
            self.linear, self.settings = nn.Linear(n_input_dims, n_output_dims), network_config

        def forward(self, x):
            return self.linear(x)

    monkeypatch.setattr(nerfstudio_mlp, "TCNN_EXISTS", True)
    monkeypatch.setattr(nerfstudio_mlp, "tcnn", type("tcnn", (), {"Network": Network}), raising=False)
    mlp = color_mlp(implementation="tcnn")
    before = mlp.tcnn_encoding.settings
    assert before["output_activation"] == "Sigmoid"
    widen(mlp, 4, (-1.0, 1.0))
    features = torch.randn(6, 5)
    network = mlp.tcnn_encoding[0]
    assert network.settings == {**before, "output_activation": "None"}
    torch.testing.assert_close(mlp(features), bound(network(features), (-1.0, 1.0)))


@pytest.mark.parametrize("limits", [(0.0, 1.0), (-1.0, 1.0)])
def test_limits_by_hand(limits):
    """Values reach a thousandth beyond both ends, and 0 is in the middle."""
    low, high = limits
    margin = 0.001 * (high - low)
    values = Bounded(limits)(torch.tensor([-100.0, 0.0, 100.0])).tolist()
    assert values == pytest.approx([low - margin, (low + high) / 2, high + margin], abs=1e-6)
    values = torch.randn(3, 4)
    assert torch.equal(Bounded(LINEAR)(values), values)


def test_heads_are_found_wherever_they_are():
    kinds = {"head": RGBFieldHead, "normals": PredNormalsFieldHead, "density": DensityFieldHead}
    model = nn.ModuleDict({name: kind(in_dim=4) for name, kind in kinds.items()})
    model["inner"] = nn.ModuleDict({"mlp": color_mlp(), "base": color_mlp(out_activation=None)})
    model["wide"] = color_mlp(out_dim=16)
    assert color_heads(model) == [model["head"], model["inner"]["mlp"]]


def test_other_heads_are_refused():
    with pytest.raises(TypeError, match="colour head: expected Nerfstudio's RGBFieldHead or MLP, got Linear; widen it"):
        widen(nn.Linear(3, 3), 4, LINEAR)


def test_scaled_softplus():
    values = torch.tensor([-60.0, 1.0, 41.0], requires_grad=True)
    density = ScaledSoftplus(25.0)(values)
    torch.testing.assert_close(density, torch.tensor([0.0, 25 * math.log(2), 1000.0]))
    density.sum().backward()
    assert values.grad is not None and values.grad.tolist() == pytest.approx([0.0, 12.5, 25.0])
