"""Gaussians of C channels: start, cameras, densification and checkpoints, with a rasteriser that needs no CUDA."""

from types import SimpleNamespace

import pytest
import torch
from gsplat.strategy import DefaultStrategy
from gsplat.strategy.ops import reset_opa
from naive_splats import naive_rasterization
from nerfstudio.cameras.cameras import Cameras, CameraType
from nerfstudio.data.scene_box import OrientedBox, SceneBox
from small_nerfs import LINEAR
from tiny import camera_of

from latent_nerfstudio.models import splatfacto
from latent_nerfstudio.models.splatfacto import LatentSplatfactoModelConfig, on_host, world_to_camera

HAS_CUDA = torch.cuda.is_available()


@pytest.fixture
def naive(monkeypatch):
    monkeypatch.setattr(splatfacto, "rasterization", naive_rasterization)


def model_of(num_channels=5, num_scenes=1, value_range=LINEAR, seed_points=None, **settings):
    torch.manual_seed(0)
    box = SceneBox(torch.tensor([[-1.0, -0.5, -0.5], [1.0, 0.5, 0.5]]))
    config = LatentSplatfactoModelConfig(**{"num_random": 60, "use_absgrad": False, **settings})
    options = {"num_channels": num_channels, "num_scenes": num_scenes, "value_range": value_range}
    model = config.setup(scene_box=box, num_train_data=1, seed_points=seed_points, **options)
    model.gauss_params["features"].data.normal_()
    return model


def optimizers_of(model):
    return {name: torch.optim.Adam(group, lr=3e-2) for name, group in model.get_param_groups().items()}


def trained(model):
    """In training, with optimizers, as the trainer's callback leaves it."""
    model.train()
    model.step_cb(SimpleNamespace(optimizers=optimizers_of(model)), 0)
    return model


def test_gaussians_start_evenly_in_the_box_and_their_channels_keep_their_range():
    model = model_of(num_random=500)
    means = model.gauss_params["means"].detach()
    assert bool(((means >= model.box[0]) & (means <= model.box[1])).all())
    torch.testing.assert_close(means.std(dim=0), torch.tensor([1.0, 0.5, 0.5]) / 3**0.5, atol=0.05, rtol=0)
    assert float(model.gauss_params["opacities"].sigmoid().mean()) == pytest.approx(0.1)
    widths = {"means": 3, "scales": 3, "quats": 4, "features": 5, "opacities": 1}
    assert {name: v.shape for name, v in model.gauss_params.items()} == {n: (500, w) for n, w in widths.items()}
    assert torch.equal(model.channels, model.gauss_params["features"])
    bounded = model_of(value_range=(0.0, 1.0))
    bounded.gauss_params["features"].data *= 100
    assert bool(((bounded.channels >= -0.0011) & (bounded.channels <= 1.0011)).all())


def test_gaussians_start_at_the_points_of_the_data_as_wide_as_these_are_apart():
    points = torch.stack(torch.meshgrid(*[torch.arange(4.0) * 0.1] * 3, indexing="ij"), dim=-1).view(-1, 3)
    model = model_of(seed_points=(points, torch.zeros(64, 3, dtype=torch.uint8)))
    assert torch.equal(model.gauss_params["means"], points)
    torch.testing.assert_close(model.gauss_params["scales"].exp(), torch.full((64, 3), 0.1))


def test_groups_hold_every_parameter_that_densification_looks_up_and_it_follows_the_config():
    model = model_of()
    groups = model.get_param_groups()
    assert {id(p) for group in groups.values() for p in group} == {id(p) for p in model.gauss_params.values()}
    model.strategy.check_sanity(model.gauss_params, optimizers_of(model))
    strategy = model_of(warmup_length=7, refine_every=11, stop_split_at=13, reset_alpha_every=3).strategy
    assert (strategy.refine_start_iter, strategy.refine_every, strategy.refine_stop_iter) == (7, 11, 13)
    assert (strategy.reset_every, strategy.pause_refine_after_reset, strategy.prune_opa) == (33, 12, 0.005)
    assert not strategy.verbose


def test_view_matrices_project_points_of_a_ray_onto_its_pixel():
    cameras = camera_of(20, 12, focal=15.0, count=3)
    for index in range(3):
        rays = cameras.generate_rays(camera_indices=index, keep_shape=True)
        points = rays.origins + rays.directions * 1.7
        view = world_to_camera(cameras.camera_to_worlds)[index]
        local = points @ view[:3, :3].T + view[:3, 3]
        pixels = local @ cameras.get_intrinsics_matrices()[index].T
        assert bool((local[..., 2] > 0).all())
        rows, columns = torch.meshgrid(torch.arange(12) + 0.5, torch.arange(20) + 0.5, indexing="ij")
        torch.testing.assert_close(pixels[..., 0] / pixels[..., 2], columns, atol=1e-3, rtol=0)
        torch.testing.assert_close(pixels[..., 1] / pixels[..., 2], rows, atol=1e-3, rtol=0)


@pytest.mark.parametrize("distortion", [None, torch.arange(6) / 7])
def test_cameras_on_the_host_have_all_but_their_poses(distortion):
    cameras = camera_of(20, 12, focal=15.0, count=3)
    cameras.distortion_params = None if distortion is None else distortion.repeat(3, 1)
    host = on_host(cameras)
    for name in ("fx", "fy", "cx", "cy", "width", "height", "camera_type"):
        assert torch.equal(getattr(host, name), getattr(cameras, name)), name
    assert torch.equal(host.get_intrinsics_matrices(), cameras.get_intrinsics_matrices())
    assert distortion is None or torch.equal(host.distortion_params, cameras.distortion_params)


def test_pictures_of_several_cameras_and_of_a_crop(naive):
    model = model_of().eval()
    outputs = model.render_cameras(camera_of(20, 12, focal=15.0, count=3))
    channels = {"latent": 5, "accumulation": 1, "depth": 1}
    assert {name: v.shape for name, v in outputs.items()} == {name: (3, 12, 20, c) for name, c in channels.items()}
    alone = model.render_cameras(camera_of(20, 12, focal=15.0, count=3)[1:2])
    torch.testing.assert_close(outputs["latent"][1:2], alone["latent"])
    camera = camera_of(20, 12, focal=15.0)  # with a crop box
    whole = model.render_cameras(camera)["accumulation"]
    box = OrientedBox.from_params((0.5, 0.0, 0.0), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    part = model.render_cameras(camera, box)["accumulation"]
    assert 0 < float(part.sum()) < float(whole.sum())
    nothing = model.render_cameras(camera, OrientedBox.from_params((9.0, 0.0, 0.0), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)))
    assert not bool(nothing["latent"].any()) and nothing["latent"].shape == (1, 12, 20, 5)
    assert bool((nothing["depth"] > 1).all())


def test_a_gaussian_is_seen_where_it_is(naive):
    """One wide, dense gaussian beside the middle: its channels, its depth, and nothing elsewhere."""
    model = model_of(num_random=4).eval()
    for name, value in (("means", torch.tensor([0.0, 0.0, 0.3])), ("scales", -3.0), ("opacities", 9.0)):
        model.gauss_params[name].data[:] = torch.as_tensor(value)
    pose = torch.eye(4)[None, :3].clone()
    pose[0, 2, 3] = 2.3
    camera = Cameras(pose, 40.0, 40.0, 20.0, 12.0, 40, 24, camera_type=CameraType.PERSPECTIVE)
    outputs = model.render_cameras(camera)
    middle = {name: values[0, 12, 20] for name, values in outputs.items()}
    assert float(middle["accumulation"]) > 0.99
    assert float(middle["depth"]) == pytest.approx(2.0, abs=0.02)
    low, high = model.channels.aminmax(dim=0)
    assert bool(((middle["latent"] >= low - 0.02) & (middle["latent"] <= high + 0.02)).all())
    corner = {name: float(values[0, 0, 0].abs().max()) for name, values in outputs.items()}
    assert corner["accumulation"] == 0 and corner["latent"] == 0
    assert corner["depth"] == pytest.approx((1 + 0.25 + 2.8**2) ** 0.5)


def test_losses_by_hand():
    model = model_of(use_scale_regularization=True, max_gauss_ratio=2.0)
    model.gauss_params["scales"].data[:] = torch.tensor([1.0, 2.0, 8.0]).log()
    losses = model.get_loss_dict({"latent": torch.zeros(1, 2, 2, 5)}, {"latent": torch.full((1, 2, 2, 5), -0.5)})
    assert {k: float(v) for k, v in losses.items()} == pytest.approx({"latent_loss": 0.5, "scale_regularization": 0.6})


def test_fitting_a_picture_splits_and_removes_gaussians(naive):
    """Forty steps towards a picture: the loss falls, and densification changes how many gaussians there are."""
    model = trained(model_of(num_channels=2, warmup_length=5, refine_every=10, densify_grad_thresh=1e-5))
    camera = camera_of(16, 16, focal=14.0)
    target = torch.zeros(1, 16, 16, 2)
    target[:, 4:12, 6:10] = 1.0
    history = []
    for step in range(40):
        model.step_cb(SimpleNamespace(optimizers=model.optimizers), step)
        for optimizer in model.optimizers.values():
            optimizer.zero_grad()
        loss = model.get_loss_dict(model.render_cameras(camera), {"latent": target})["latent_loss"]
        loss.backward()
        for optimizer in model.optimizers.values():
            optimizer.step()
        model.step_post_backward(step)
        history.append(float(loss))
    assert history[-1] < 0.6 * history[0]
    assert model.num_points != 60
    assert {len(values) for values in model.gauss_params.values()} == {model.num_points}


def test_checkpoints_of_other_numbers_of_gaussians():
    """The parameters stay the objects that optimizers hold."""
    small, large = model_of(num_random=10), model_of(num_random=37)
    before = dict(small.gauss_params.items())
    small.load_state_dict(large.state_dict())
    for name, values in large.gauss_params.items():
        assert small.gauss_params[name] is before[name] and torch.equal(small.gauss_params[name], values)


ARGUMENTS = """means quats scales opacities colors viewmats Ks width height near_plane far_plane radius_clip eps2d
sh_degree packed tile_size backgrounds render_mode sparse_grad absgrad rasterize_mode channel_chunk distributed
camera_model covars"""
"""Of the rasteriser in every release."""
RELEASES = {
    "1.4.0": lambda step, every: step % every == 0,
    "1.5.3": lambda step, every: step % every == 0 & step > 0,
}
"""When the strategy resets opacities, word for word."""


@pytest.mark.parametrize("release", RELEASES)
def test_opacities_are_reset_by_the_interval_and_not_at_the_start(release, naive, monkeypatch):
    def rasterization(**settings):
        assert set(settings) <= set(ARGUMENTS.split())
        return naive_rasterization(**settings)

    def post_backward(self, params, optimizers, state, step, info, packed=False):
        if step < self.refine_stop_iter and RELEASES[release](step, self.reset_every):
            reset_opa(params, optimizers, state, value=2 * self.prune_opa)

    monkeypatch.setattr(splatfacto, "rasterization", rasterization)
    monkeypatch.setattr(DefaultStrategy, "step_post_backward", post_backward)
    model, found = trained(model_of(reset_alpha_every=1, refine_every=3, stop_split_at=9)), []
    for step in range(11):
        model.step_cb(SimpleNamespace(optimizers=model.optimizers), step)
        model.gauss_params["opacities"].data.fill_(0.0)
        model.render_cameras(camera_of(8, 8))["latent"].sum().backward()
        model.step_post_backward(step)
        highest = float(model.gauss_params["opacities"].sigmoid().max())
        assert highest == pytest.approx(0.5 if step not in (3, 6) else 0.01)
        found += [step] if highest < 0.1 else []
    assert found == [3, 6]


def test_scenes_that_are_not_trained_stay_as_they_are(naive):
    """RGB alignment with `align_scenes False` renders without gradients."""
    model = trained(model_of(warmup_length=0, refine_every=1))
    before = {name: values.clone() for name, values in model.state_dict().items()}
    with torch.no_grad():
        outputs = model.render_cameras(camera_of(8, 8))
    model.step_post_backward(0)
    assert not outputs["latent"].requires_grad
    assert all(torch.equal(values, before[name]) for name, values in model.state_dict().items())


def test_what_gaussians_do_not_render():
    with pytest.raises(NotImplementedError, match="expected cameras, got NoneType; gaussians are rasterised"):
        model_of().get_outputs(None)
    with pytest.raises(ValueError, match="expected one scene, got 2"):
        model_of(num_scenes=2)
    camera = camera_of(20, 12)
    camera.camera_type[:] = CameraType.FISHEYE.value
    with pytest.raises(ValueError, match="latent-splatfacto: expected perspective cameras .*, got FISHEYE; use"):
        model_of().render_cameras(camera)


@pytest.mark.parametrize(
    ("device", "has_cuda", "got"), [("cpu", True, "cpu"), ("cpu", False, "none"), ("cuda:0", False, "none")]
)
def test_no_cuda_device(device, has_cuda, got, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: has_cuda)
    with pytest.raises(ValueError, match=f"latent-splatfacto: expected a CUDA device, .* got {got}; use latent-nerf"):
        LatentSplatfactoModelConfig().check_device(device)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert LatentSplatfactoModelConfig().check_device("cuda:0") is None


@pytest.mark.gpu
@pytest.mark.skipif(not HAS_CUDA, reason="needs a CUDA device")
def test_gsplat_renders_what_the_naive_rasteriser_does(monkeypatch):
    """Pictures and gradients of a few gaussians, by gsplat's kernels and by torch."""
    model, cameras = model_of().eval(), camera_of(20, 12, focal=15.0, count=2)
    results = []
    for device in ("cuda", "cpu"):
        if device == "cpu":
            monkeypatch.setattr(splatfacto, "rasterization", naive_rasterization)
        model = model.to(device)
        outputs = model.render_cameras(cameras.to(device))
        model.zero_grad()
        (outputs["latent"].square().sum() + outputs["accumulation"].sum()).backward()
        grads = {name: p.grad.cpu().clone() for name, p in model.gauss_params.items()}
        results.append(({name: v.detach().cpu() for name, v in outputs.items()}, grads))
    (pictures, slopes), (expected_pictures, expected_slopes) = results
    for name in ("latent", "accumulation"):
        torch.testing.assert_close(pictures[name], expected_pictures[name], atol=5e-3, rtol=1e-2)
    for name, slope in slopes.items():
        torch.testing.assert_close(slope, expected_slopes[name], atol=2e-2, rtol=5e-2)
