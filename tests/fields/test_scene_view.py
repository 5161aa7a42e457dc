"""Views of scenes: blends and parts of planes against hand values, and what they refuse."""

import pytest
import torch

from latent_nerfstudio.fields.planes import compose_planes
from latent_nerfstudio.fields.scene_view import SceneView
from latent_nerfstudio.fields.triplane_field import TriplaneFieldConfig


def field_of(**settings):
    torch.manual_seed(0)
    settings = {"micro_features": 2, "macro_features": 3, "num_base_planes": 4, "resolution": 5, **settings}
    return TriplaneFieldConfig(implementation="torch", **settings).setup(num_scenes=3, num_channels=3)


def own(field, scene):
    return field.scene_planes(torch.tensor([scene]))


@torch.no_grad()
def test_a_blend_interpolates_micro_planes_and_weights_and_its_ends_are_the_scenes():
    field = field_of()
    assert torch.equal(field.view_planes([SceneView(1)]), own(field, 1))
    assert torch.equal(field.view_planes([SceneView(1, 2, 0.0)]), own(field, 1))
    torch.testing.assert_close(field.view_planes([SceneView(1, 2, 1.0)]), own(field, 2))
    planes = field.view_planes([SceneView(2, 0, 0.25)])
    micro = 0.75 * field.micro_planes[2] + 0.25 * field.micro_planes[0]
    weights = 0.75 * field.scene_weights[2] + 0.25 * field.scene_weights[0]
    macro = sum(weights[i] * field.base_planes[i] for i in range(4))
    torch.testing.assert_close(planes[0], torch.cat([micro, macro], dim=1))
    torch.testing.assert_close(planes, 0.75 * own(field, 2) + 0.25 * own(field, 0))
    views = (SceneView(1), SceneView(1, 2, 0.0), SceneView(1, 2, 0.5), SceneView(1, parts="macro"))
    assert [view.is_whole for view in views] == [True, True, False, False]


@torch.no_grad()
def test_parts_leave_the_rest_at_zero():
    field = field_of()
    whole = own(field, 1)
    views = [SceneView(1, parts="macro"), SceneView(1, parts="micro"), SceneView(1, parts="base plane", base_plane=3)]
    macro, micro, base = field.view_planes(views)
    assert torch.equal(macro[:, 2:], whole[0, :, 2:]) and bool((macro[:, :2] == 0).all())
    assert torch.equal(micro[:, :2], whole[0, :, :2]) and bool((micro[:, 2:] == 0).all())
    torch.testing.assert_close(base[:, 2:], field.base_planes[3])
    assert bool((base[:, :2] == 0).all())
    blended = field.view_planes([SceneView(0, 1, 0.5, "macro")])[0, :, 2:]
    mean = compose_planes(None, field.base_planes, field.scene_weights[:2].mean(0, keepdim=True))[0]
    torch.testing.assert_close(blended, mean)


@torch.no_grad()
def test_fields_with_one_kind_of_planes():
    micro, macro = field_of(macro_features=0), field_of(micro_features=0)
    assert micro.parts == ("all",) and macro.parts == ("all", "base plane")
    assert field_of().parts == ("all", "macro", "micro", "base plane")
    (second,) = macro.view_planes([SceneView(0, parts="base plane", base_plane=1)])
    torch.testing.assert_close(second, macro.base_planes[1])
    torch.testing.assert_close(micro.view_planes([SceneView(0, 1, 0.5)])[0], micro.micro_planes[:2].mean(0))


@pytest.mark.parametrize(("share", "other"), [(-0.1, 1), (1.1, 1), (float("nan"), 1), (0.5, None)])
def test_shares_that_are_none(share, other):
    with pytest.raises(ValueError, match="view: expected a share from 0 to 1 of another scene"):
        SceneView(0, other, share)


@pytest.mark.parametrize(
    ("view", "expected"),
    [
        (SceneView(3), "view: expected scene of 0 to 2, got 3"),
        (SceneView(0, 7, 0.5), "view: expected scene of 0 to 2, got 0, 7"),
        (SceneView(0, parts="base plane", base_plane=4), "view: expected base plane of 0 to 3, got 4"),
        (SceneView(0, parts="macro"), "view: expected parts of all, got macro; choose another"),
    ],
)
def test_views_of_what_is_not_there(view, expected):
    with pytest.raises(ValueError, match=expected):
        field_of(macro_features=3 * (view.parts != "macro")).view_planes([view])
