"""What captum gives by hand on the plain model, reduced over channels, for every model and image."""

import copy
import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import captum.attr
import numpy as np
import pytest
import sklearn.svm  # noqa: F401 # its import adds a warning filter, and captum imports it in its first call
import torch
from torch import Tensor, nn

import xai_core as xai
from support.models import Linear, Plain, settled, torchvision_vit
from support.observing import given_to, trace
from support.references import relative
from xai_core.errors import LayerError, NotConnectedError, OptionError, UnsuitableError

CLASSES = torch.tensor([1, 4, 2])
METHODS = sorted(
    name
    for name in xai.list_explainers()
    if type(xai.create_explainer(name)).__module__.startswith("xai_captum")
    and name not in ("xrai", "b-cos")  # which are made of other explainers, and for B-cos networks only
)
# captum warns that it places hooks on the plain model, and of the weights of a random model many are against a class.
pytestmark = [
    pytest.mark.filterwarnings("ignore:\\s*Setting .* hooks:UserWarning"),
    pytest.mark.filterwarnings("ignore::xai_core.errors.ConstantMapWarning"),
]


@pytest.fixture
def plain() -> nn.Module:
    return settled(Plain())


def explained(model: nn.Module, images: Tensor, method: str | xai.Explainer, **options: Any) -> Tensor:
    options = {"target": CLASSES[: len(images)], **options}
    engine = {key: options.pop(key) for key in ("memory", "block", "forward") if key in options}
    [saliency] = xai.Engine(model, **engine).explain(images, method, **options).values()
    return saliency.raw


def quick(name: str) -> str:
    """A method with few steps."""
    steps = {
        "blur-ig": "max_sigma=4,n_steps=5",
        "captum-occlusion": "sliding_window_shapes=8,strides=8",
        "deep-lift-shap": "baselines=zero+zero",
        "feature-ablation": "patch=8",
        "gradient-shap": "n_samples=5",
        "guided-ig": "n_steps=5",
        "idgi": "n_steps=5",
        "integrated-gradients": "n_steps=5",
        "kernel-shap": "n_samples=20,patch=8",
        "layer-conductance": "n_steps=5",
        "layer-integrated-gradients": "n_steps=5",
        "lime": "n_samples=20,segments=8",
        "shapley-value-sampling": "n_samples=2,patch=8",
        "smooth-grad": "nt_samples=5",
    }
    return f"{name}:{steps[name]}" if name in steps else name


def patched(size: tuple[int, int], side: int) -> Tensor:
    mask = torch.empty(size, dtype=torch.int64)
    for y in range(size[0]):
        for x in range(size[1]):
            mask[y, x] = y // side * -(-size[1] // side) + x // side
    return mask[None, None]


def by_hand(model: nn.Module, images: Tensor, name: str, layer: str = "last") -> Tensor:
    """The attribution of the methods that draw nothing, on the plain model, unreduced."""
    given = images.clone().requires_grad_()
    at = model.get_submodule(layer)
    windows = {"sliding_window_shapes": (3, 8, 8), "strides": (3, 8, 8), "baselines": 0}
    shared: dict[str, tuple[Any, dict[str, Any]]] = {
        "saliency": (captum.attr.Saliency(model), {"abs": False}),
        "input-x-gradient": (captum.attr.InputXGradient(model), {}),
        "integrated-gradients": (captum.attr.IntegratedGradients(model), {"n_steps": 5}),
        "guided-backprop": (captum.attr.GuidedBackprop(model), {}),
        "deconvolution": (captum.attr.Deconvolution(model), {}),
        "guided-grad-cam": (captum.attr.GuidedGradCam(model, at), {"interpolate_mode": "bilinear"}),
        "deep-lift": (captum.attr.DeepLift(model), {}),
        "deep-lift-shap": (captum.attr.DeepLiftShap(model), {"baselines": torch.zeros(2, *images.shape[1:])}),
        "layer-integrated-gradients": (captum.attr.LayerIntegratedGradients(model, at), {"n_steps": 5}),
        "layer-conductance": (captum.attr.LayerConductance(model, at), {"n_steps": 5}),
        "feature-ablation": (
            captum.attr.FeatureAblation(model),
            {"feature_mask": patched((images.shape[-2], images.shape[-1]), 8)},
        ),
        "captum-occlusion": (captum.attr.Occlusion(model), windows),
    }
    method, options = shared[name]
    return method.attribute(given, target=CLASSES[: len(images)], **options).detach()


def over_channels(attribution: Tensor, name: str) -> Tensor:
    """Their sum; captum gives a patch, and a window, over all channels the same number in each."""
    return attribution[:, 0] if name in MASKING else attribution.sum(1)


def signed(method: str) -> str:
    return f"{method}{',' if ':' in method else ':'}channels=sum"


MASKING = {"captum-occlusion", "feature-ablation", "kernel-shap", "shapley-value-sampling"}
DRAWN = {"smooth-grad", "gradient-shap", "kernel-shap", "shapley-value-sampling"}
OWN = {"blur-ig", "guided-ig", "idgi"}
"""Methods that captum does not have. Each has tests of its own."""
GIVEN = sorted({*METHODS} - DRAWN - OWN - {"lime", "lrp"})


@pytest.mark.parametrize("name", GIVEN)
@pytest.mark.parametrize("size", [(32, 32), (24, 40)], ids=["square", "oblong"])
def test_a_map_is_captums_on_the_plain_model(plain: nn.Module, name: str, size: tuple[int, int]) -> None:
    images = torch.randn(3, 3, *size)
    expected = over_channels(by_hand(copy.deepcopy(plain), images, name), name)
    method = signed(quick(name))
    if name.startswith(("layer-", "guided-grad")):
        method += ",layer=last"
    assert relative(explained(plain, images, method), expected) < 1e-4


@pytest.mark.parametrize(
    "name", ["saliency", "integrated-gradients", "layer-integrated-gradients", "layer-conductance", "feature-ablation"]
)
def test_a_vision_transformers_map_is_captums(name: str, images: Tensor) -> None:
    model = settled(torchvision_vit())
    layer = "encoder.layers.encoder_layer_1.ln_1"
    attribution = by_hand(copy.deepcopy(model), images, name, layer)
    if name.startswith("layer-"):
        attribution = attribution[:, 1:].mT.unflatten(2, (4, 4))
    method = signed(quick(name)) + (f",layer={layer}" if name.startswith("layer-") else "")
    assert relative(explained(model, images, method), over_channels(attribution, name)) < 1e-3


class Flat(nn.Module):
    """A model whose scores have places."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x).flatten(1)


def test_lrp_is_captums_and_hands_the_score_back(images: Tensor) -> None:
    """A convolution whose stride leaves no overlap, without biases, hands back all of the score."""
    model = nn.Sequential(
        nn.Conv2d(3, 8, 4, 4, bias=False),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Conv2d(8, 5, 2, bias=False),
        nn.Flatten(),
    )
    without = copy.deepcopy(model)[:-1]  # captum has no rule for the last one
    expected = captum.attr.LRP(Flat(without)).attribute(images.clone().requires_grad_(), target=CLASSES)
    ours = explained(model, images, "lrp:channels=sum")
    assert relative(ours, expected.detach().sum(1)) < 1e-4
    scores = model(images).gather(1, CLASSES[:, None])[:, 0]
    torch.testing.assert_close(ours.sum((1, 2)), scores.detach(), atol=1e-3, rtol=1e-3)


def drawn(name: str, model: nn.Module, image: Tensor, target: Tensor) -> Tensor:
    """What captum gives for one image after seeding the generators of the process."""
    torch.manual_seed(7)
    np.random.seed(7)
    given: dict[str, Any] = {"target": target}
    mask = {"feature_mask": patched((32, 32), 8)}
    match name:
        case "smooth-grad":
            tunnel = captum.attr.NoiseTunnel(captum.attr.Saliency(model))
            return tunnel.attribute(image, nt_samples=5, stdevs=0.5, **given)
        case "gradient-shap":
            baselines = torch.zeros_like(image)
            return captum.attr.GradientShap(model).attribute(image, baselines, n_samples=5, stdevs=0.1, **given)
        case "kernel-shap":
            return captum.attr.KernelShap(model).attribute(image, n_samples=20, **mask, **given)
    return captum.attr.ShapleyValueSampling(model).attribute(image, n_samples=2, **mask, **given)


@pytest.mark.parametrize("name", sorted(DRAWN))
def test_what_is_drawn_is_captums_for_each_image_after_the_same_seed(
    plain: nn.Module, images: Tensor, name: str
) -> None:
    state, of_numpy = torch.get_rng_state(), np.random.get_state()
    ours = explained(plain, images, signed(quick(name)) + ",seed=7")
    assert torch.equal(torch.get_rng_state(), state)
    assert all(np.array_equal(one, other) for one, other in zip(np.random.get_state(), of_numpy, strict=True))
    each = [drawn(name, plain, images[i : i + 1], CLASSES[i : i + 1]) for i in range(3)]
    assert relative(ours, over_channels(torch.cat(each).detach(), name)) < 1e-3
    assert not torch.allclose(ours, explained(plain, images, signed(quick(name)) + ",seed=8"))


@pytest.mark.parametrize("name", METHODS)
def test_the_model_and_the_process_are_as_before(plain: nn.Module, images: Tensor, name: str) -> None:
    """Parameters are not so much as written over with themselves, which would break a backward of the user's."""
    before = trace(plain)
    versions = {name: tensor._version for name, tensor in plain.state_dict(keep_vars=True).items()}
    filters = list(warnings.filters)
    explained(plain, images, quick(name))
    assert warnings.filters == filters
    assert {name: tensor._version for name, tensor in plain.state_dict(keep_vars=True).items()} == versions
    after = trace(plain)
    torch.testing.assert_close(after.pop("values"), before.pop("values"), atol=0, rtol=0)
    assert after == before


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", METHODS)
def test_models_of_every_kind(plain: nn.Module, images: Tensor, name: str) -> None:
    """Frozen, with other batches, in inference mode and with channels last; and captum warns of nothing."""
    method = signed(quick(name))
    double, images = plain.double(), images.double()
    expected = explained(double, images, method)
    frozen = copy.deepcopy(double).requires_grad_(False)
    assert relative(explained(frozen, images, method), expected) < 1e-6
    with torch.inference_mode():
        assert relative(explained(double, images.clone(), method), expected) < 1e-6
    last = images.to(memory_format=torch.channels_last)
    assert relative(explained(double, last, method), expected) < 1e-6
    for i in range(3):
        alone = explained(double, images[i : i + 1], method, target=CLASSES[i : i + 1])
        torch.testing.assert_close(alone[0], expected[i], atol=1e-6 * expected.abs().max().item(), rtol=1e-6)


@pytest.mark.parametrize("name", sorted({*METHODS} - {"smooth-grad"}))  # whose noise is drawn a block at a time
def test_a_small_block_gives_the_same(plain: nn.Module, images: Tensor, name: str) -> None:
    double, images = plain.double(), images.double()
    with given_to(double) as batches:
        expected = explained(double, images, signed(quick(name)))
        largest = max(map(len, batches))
    with given_to(double) as batches:
        ours = explained(double, images, signed(quick(name)), block=2)
    assert largest == 3 or max(map(len, batches)) <= 3  # the pass takes the batch, and no more
    if name != "gradient-shap":  # a block has draws of its own
        assert relative(ours, expected) < 1e-6


@pytest.mark.parametrize("name", sorted({*METHODS} - {"saliency", "input-x-gradient"}))
def test_memory_is_bounded_by_a_block(plain: nn.Module, images: Tensor, name: str) -> None:
    with given_to(plain) as batches:
        explained(plain, images[:1], quick(name), block=2, target=CLASSES[:1])
    assert len(batches) > 1
    assert max(map(len, batches)) <= 2


@pytest.mark.parametrize("name", sorted({*METHODS} - {"saliency", "input-x-gradient"}))
def test_the_number_of_forwards_is_told(plain: nn.Module, images: Tensor, name: str) -> None:
    engine = xai.Engine(plain)
    method = xai.create_explainer(quick(name))
    told = method.forward_passes(engine.adapter(images[:1]))
    with given_to(plain) as batches:
        engine.explain(images[:1], method, target=CLASSES[:1])
    assert told == sum(map(len, batches))


def test_two_threads(plain: nn.Module, images: Tensor) -> None:
    methods = [signed(quick(name)) for name in METHODS]
    batches = [images, images.flip(3)]

    def work(batch: Tensor) -> list[Tensor]:
        engine = xai.Engine(plain)
        return [one.raw for _ in range(3) for one in engine.explain(batch, methods, target=CLASSES).values()]

    expected = [work(batch) for batch in batches]
    with ThreadPoolExecutor(2) as pool:
        for ours, theirs in zip(pool.map(work, batches), expected, strict=True):
            for one, other in zip(ours, theirs, strict=True):
                assert relative(one, other) < 1e-4


def test_channels_are_reduced_as_is_said(plain: nn.Module, images: Tensor) -> None:
    attribution = by_hand(plain, images, "input-x-gradient")
    expected = {
        "sum": attribution.sum(1),
        "positive": attribution.sum(1).clamp(min=0),
        "abs": attribution.abs().sum(1),
        "max": attribution.abs().amax(1),
        "norm": attribution.square().sum(1).sqrt(),
    }
    for how, map_ in expected.items():
        assert relative(explained(plain, images, f"input-x-gradient:channels={how}"), map_) < 1e-5


def test_shares_add_up_to_the_difference_from_the_baseline(plain: nn.Module, images: Tensor) -> None:
    difference = (plain(images) - plain(torch.zeros_like(images))).gather(1, CLASSES[:, None])[:, 0].detach()
    for method in ("integrated-gradients:n_steps=200", "layer-conductance:n_steps=200,layer=last"):
        total = explained(plain, images, method + ",channels=sum").sum((1, 2))
        torch.testing.assert_close(total, difference, atol=2e-2, rtol=2e-2)
    total = explained(plain, images, "shapley-value-sampling:patch=8,n_samples=2,channels=sum").sum((1, 2))
    torch.testing.assert_close(total / 64, difference, atol=1e-4, rtol=1e-4)


EXACT = {
    "feature-ablation": "patch=8",
    "shapley-value-sampling": "patch=8,n_samples=1",
    "kernel-shap": "patch=8,n_samples=60",
    "captum-occlusion": "sliding_window_shapes=8,strides=8",
}


@pytest.mark.parametrize("name", EXACT)
def test_a_patch_has_what_it_adds_to_a_linear_model_however_channels_are_reduced(images: Tensor, name: str) -> None:
    model = Linear((32, 32), classes=5)
    added = (images * model.weight[CLASSES]).detach()
    added = nn.functional.avg_pool2d(added.sum(1, keepdim=True), 8)[:, 0] * 64  # of each patch
    for how in ("sum", "positive", "abs", "max", "norm"):
        expected = {"sum": added, "positive": added.relu()}.get(how, added.abs())
        ours = explained(model, images, f"{name}:{EXACT[name]},channels={how}")
        torch.testing.assert_close(ours[:, ::8, ::8], expected, atol=1e-2, rtol=1e-3)
        assert torch.equal(ours, ours[:, ::8, ::8].repeat_interleave(8, 1).repeat_interleave(8, 2))


SUMS = ["gausslegendre", "riemann_left", "riemann_middle", "riemann_right", "riemann_trapezoid"]


@pytest.mark.parametrize("steps", [2, 7])
@pytest.mark.parametrize("how", SUMS)
def test_every_sum_of_a_linear_model_is_complete(images: Tensor, how: str, steps: int) -> None:
    model = Linear((32, 32), classes=5)
    added = (images * model.weight[CLASSES]).sum(1).detach()
    for name, layer in (("integrated-gradients", ""), ("layer-integrated-gradients", ",layer=seen")):
        ours = explained(model, images, f"{name}:method={how},n_steps={steps},channels=sum{layer}")
        torch.testing.assert_close(ours, added, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("steps", [4, 50])
@pytest.mark.parametrize("how", SUMS)
def test_conductance_lacks_what_is_beyond_the_first_and_the_last_place(images: Tensor, how: str, steps: int) -> None:
    model = Linear((32, 32), classes=5)
    added = (images * model.weight[CLASSES]).sum(1).detach()
    ends = np.polynomial.legendre.leggauss(steps + 1)[0] / 2
    reached = {"gausslegendre": ends[-1] - ends[0], "riemann_trapezoid": 1}.get(how, steps / (steps + 1))
    ours = explained(model, images, f"layer-conductance:method={how},n_steps={steps},channels=sum,layer=seen")
    torch.testing.assert_close(ours, float(reached) * added, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("how", SUMS[1:])
def test_one_step_is_too_few_for_a_sum_of_rectangles(how: str) -> None:
    with pytest.raises(OptionError, match=f"n_steps must be at least 2 for {how}, got 1"):
        xai.create_explainer(f"integrated-gradients:n_steps=1,method={how}")


def test_one_patch_is_too_few_for_kernel_shap(images: Tensor) -> None:
    with pytest.raises(OptionError, match="at least two patches, got one for patch=32 and an image of 32x32"):
        explained(settled(Plain()), images, "kernel-shap:patch=32")


@pytest.mark.parametrize("name", ["integrated-gradients", "deep-lift", "feature-ablation", "kernel-shap"])
def test_a_baseline_that_is_the_image_leaves_nothing(plain: nn.Module, images: Tensor, name: str) -> None:
    options = {"n_samples": 20} if name == "kernel-shap" else {}
    method = xai.create_explainer(name, baselines=images, **options)
    assert explained(plain, images, method).abs().max() < 1e-5


def test_a_callable_target(plain: nn.Module, images: Tensor) -> None:
    ours = explained(plain, images, "integrated-gradients:n_steps=5", target=lambda output: output[:, 3] * 2)
    expected = 2 * explained(plain, images, "integrated-gradients:n_steps=5", target=3)
    assert relative(ours, expected) < 1e-5


SUITED = {
    "guided-backprop": (torchvision_vit, "ReLU modules.*saliency"),
    "deconvolution": (torchvision_vit, "ReLU modules.*saliency"),
    "guided-grad-cam": (torchvision_vit, "ReLU modules.*saliency"),
    "deep-lift": (torchvision_vit, "integrated-gradients"),
    "lrp": (torchvision_vit, "lrp has no rule for .*LayerNorm.*integrated-gradients"),
}


@pytest.mark.parametrize("name", SUITED)
def test_a_model_that_captum_cannot_do_is_an_error(name: str, images: Tensor) -> None:
    make, message = SUITED[name]
    with pytest.raises(UnsuitableError, match=message):
        explained(settled(make()), images, name)


class Reused(Plain):
    """One activation in two places."""

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem[2](self.stem[1](self.stem[0](x)))
        x = self.stem[2](self.last[0](x))
        return self.head(self.flat(self.pool(x)))


class Residual(Plain):
    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        return self.head(self.flat(self.pool(self.last(x + x.flip(3)))))


class Cut(Plain):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.detach())


class TokensFirst(Plain):
    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Linear(12, 12)

    def forward(self, x: Tensor) -> Tensor:
        x = self.last[:2](self.stem(x)).flatten(2).permute(2, 0, 1)
        return self.head(self.tokens(x).mean(0))


def test_a_reused_activation_is_an_error_of_deep_lift(images: Tensor) -> None:
    with pytest.raises(UnsuitableError, match="same ReLU several times; use integrated-gradients"):
        explained(settled(Reused()), images, "deep-lift")


def test_a_sum_outside_of_modules_is_an_error_of_lrp_before_the_pass(images: Tensor) -> None:
    adapter = xai.Engine(settled(Residual())).adapter(images)
    with pytest.raises(UnsuitableError, match=r"outside of modules \(AddBackward0\).*Addition_Module"):
        xai.create_explainer("lrp").needs(adapter)


def test_a_target_of_several_outputs_is_an_error_of_lrp(images: Tensor) -> None:
    with pytest.raises(UnsuitableError, match="this target combines several outputs"):
        xai.Engine(settled(Plain())).explain(images, "lrp", target=xai.Contrast(0, 1))


def test_captums_own_addition_is_none(images: Tensor) -> None:
    from captum.attr._utils.custom_modules import Addition_Module

    class WithModule(Plain):
        def __init__(self) -> None:
            super().__init__()
            self.add = Addition_Module()

        def forward(self, x: Tensor) -> Tensor:
            x = self.stem(x)
            return self.head(self.flat(self.pool(self.last(self.add(x, x.flip(3))))))

    assert explained(settled(WithModule()), images, "lrp").abs().sum() > 0


@pytest.mark.parametrize("name", ["layer-conductance", "layer-integrated-gradients"])
def test_tokens_before_the_batch_are_an_error(name: str, images: Tensor) -> None:
    with pytest.raises(UnsuitableError, match="contains tokens or frames; use hires-cam"):
        explained(settled(TokensFirst()), images, f"{name}:layer=tokens")
    with pytest.raises(LayerError):
        explained(settled(Plain()), images, f"{name}:layer=head")


def test_a_graph_that_is_cut_is_an_error(images: Tensor) -> None:
    with pytest.raises(NotConnectedError, match="feature-ablation"):
        explained(settled(Cut()), images, "integrated-gradients:n_steps=2")


@pytest.mark.parametrize(
    "method",
    [
        "integrated-gradients:n_steps=0",
        "integrated-gradients:method=simpson",
        "integrated-gradients:channels=mean",
        "saliency:channels=mean",
        "smooth-grad:nt_type=median",
        "smooth-grad:stdevs=-1",
        "smooth-grad:nt_samples=0",
        "gradient-shap:stdevs=-1",
        "guided-grad-cam:interpolate_mode=linear",
        "deep-lift:eps=0",
        "lrp:epsilon=0",
        "feature-ablation:patch=0",
        "kernel-shap:n_samples=0",
        "captum-occlusion:sliding_window_shapes=4,strides=5",
    ],
)
def test_options_that_make_no_sense_are_errors(method: str) -> None:
    with pytest.raises(OptionError, match="must be"):
        xai.create_explainer(method)
