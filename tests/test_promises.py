"""What the engine promises of every explainer, on a gated CNN, a ViT with fused attention and a torchvision ViT."""

import copy
import functools
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import xai_core as xai
from support.explaining import assert_same, one_pass, suitable
from support.models import FAMILIES, SmallCNN, made, three_images
from support.observing import trace
from support.parameters import quick

Maps = dict[str, xai.Saliency]
# Of maps of four by four places, some are constant by nature.
pytestmark = pytest.mark.filterwarnings("ignore::xai_core.errors.ConstantMapWarning")


def explain_all(model: nn.Module, images: Tensor, **options: Any) -> Maps:
    engine = xai.Engine(model)
    return engine.explain(images, suitable(engine, images), **options)


def few(maps: Maps) -> Maps:
    """The maps of three methods: metrics treat the maps of all methods alike."""
    return dict(list(maps.items())[:3])


@functools.cache
def of_family(family: str, dtype: torch.dtype) -> Maps:
    return explain_all(made(family).to(dtype), three_images().to(dtype))


@pytest.fixture
def expected(family: str) -> Maps:
    """What all methods give for the model and the images, made once."""
    return of_family(family, torch.float32)


@pytest.fixture
def in_double(family: str) -> Maps:
    """The same in float64."""
    return of_family(family, torch.float64)


@pytest.fixture
def in_half(family: str) -> Maps:
    """The same in bfloat16."""
    return of_family(family, torch.bfloat16)


@pytest.fixture(autouse=True)
def leaves_no_trace(model: nn.Module) -> Iterator[None]:
    """Every test here holds this too: the model comes out as it went in."""
    before = trace(model)
    yield
    after = trace(model)
    torch.testing.assert_close(after.pop("values"), before.pop("values"), atol=0, rtol=0)
    assert after == before


def test_every_family_has_methods(model: nn.Module, images: Tensor) -> None:
    of_family = {"spatial-attention"} if isinstance(model, SmallCNN) else {"rollout", "head-attention"}
    expected = {"grad-cam", "score-cam"} | of_family
    assert expected <= set(suitable(xai.Engine(model), images))


EACH = pytest.mark.parametrize("family", quick(FAMILIES, ["cnn"]), indirect=True)
"""Every family, of which a quick run takes the CNN."""


@EACH
def test_values_are_normalized_finite_and_float32(expected: Maps) -> None:
    for saliency in expected.values():
        assert saliency.values.shape == (3, 32, 32)
        assert saliency.values.dtype == torch.float32
        assert saliency.raw.ndim == 3
        assert not saliency.constant.all()
        assert torch.equal(saliency.values.amin((1, 2)), torch.zeros(3))
        assert torch.equal(saliency.values.amax((1, 2)), (~saliency.constant).float())


SLOW_VIT = pytest.param("torchvision vit", marks=pytest.mark.slow)
# The conformance kit holds the following for a CNN and for fused attention, method by method.
ALONE = pytest.mark.parametrize("family", [SLOW_VIT], indirect=True)
# It has no test of these; what fused attention does is held by the other tests.
WITH_CNN = pytest.mark.parametrize("family", ["cnn", SLOW_VIT], indirect=True)


@ALONE
def test_frozen_model(model: nn.Module, images: Tensor, in_double: Maps) -> None:
    # In float64, as frozen layers may run other kernels, and some methods amplify rounding.
    frozen = copy.deepcopy(model).double().requires_grad_(False)
    before = trace(frozen)
    assert_same(explain_all(frozen, images.double()), in_double)
    assert trace(frozen) | {"values": None} == before | {"values": None}


@ALONE
def test_in_place_activations(model: nn.Module, images: Tensor, expected: Maps) -> None:
    not_in_place = copy.deepcopy(model)
    for module in not_in_place.modules():
        if hasattr(module, "inplace"):
            module.inplace = False
    assert_same(expected, explain_all(not_in_place, images), atol=0)


DIFFERENCES = "takes small differences of scores that were rounded to eight bits"
# What half precision does to a method by its own formula, whatever the engine does.
SENSITIVE = {
    "ablation-cam": DIFFERENCES,
    "captum-occlusion": DIFFERENCES,
    "feature-ablation": DIFFERENCES,
    "kernel-shap": DIFFERENCES,
    "lime": DIFFERENCES,
    "shapley-value-sampling": DIFFERENCES,
    "occlusion": DIFFERENCES,
    "recipro-cam": DIFFERENCES,
    "smooth-grad-cam++": "divides by a sum of both signs, which may be about zero for normalized tokens",
    "transformer-attribution": "divides by sums of features, which are about zero at some places",
    "fem": "a threshold decides which places count, and one of sixteen places that crosses it moves the map",
    "xrai": "a threshold decides which pixels form a segment, and rounded images have other segments",
    "vit-cx": "a threshold decides which channels form a cluster, and rounded activations form other clusters",
    "xgrad-cam": "divides by the sum of a channel, which is about zero for normalized tokens",
}


@ALONE
def test_bfloat16(model: nn.Module, images: Tensor, in_half: Maps) -> None:
    [target] = {saliency.target for saliency in in_half.values()}
    whole = explain_all(model, images, target=target.ids)
    for name, saliency in in_half.items():
        assert saliency.values.dtype == torch.float32
        if xai.create_explainer(name).name in SENSITIVE:
            continue
        both = torch.stack([saliency.values.flatten(1), whole[name].values.flatten(1)], 1)
        assert min(pair.corrcoef()[0, 1] for pair in both) > 0.95, name


@ALONE
def test_float32_images_are_taken_by_a_bfloat16_model(model: nn.Module, images: Tensor, in_half: Maps) -> None:
    assert_same(explain_all(copy.deepcopy(model).bfloat16(), images), in_half, atol=0)


@EACH
def test_double(expected: Maps, in_double: Maps) -> None:
    assert_same(expected, in_double, atol=1e-4)


@WITH_CNN
def test_channels_last(model: nn.Module, images: Tensor, in_double: Maps) -> None:
    last = copy.deepcopy(model).double().to(memory_format=torch.channels_last)  # some methods amplify rounding
    assert_same(explain_all(last, images.double().to(memory_format=torch.channels_last)), in_double)


def compiled_before(model: nn.Module, images: Tensor) -> xai.Engine:
    compiled = torch.compile(model, backend="eager")
    compiled(images)
    return xai.Engine(compiled)


def compiled_after(model: nn.Module, images: Tensor) -> xai.Engine:
    engine = xai.Engine(model)
    engine.explain(images, "grad-cam")
    model.compile(backend="eager")
    model(images)
    return engine


def compiled_inside(model: nn.Module, images: Tensor) -> xai.Engine:
    for child in model.children():
        child.compile(backend="eager")
    with torch.no_grad():
        model(images)
    return xai.Engine(model)


# These run the model on changed images, as Score-CAM does. Each kind of batch would be compiled for itself.
LIKE_SCORE_CAM = {
    *("captum-occlusion", "feature-ablation", "group-cam", "hsic", "is-cam", "kernel-shap", "lime", "occlusion"),
    *("poly-cam", "rise", "shapley-value-sampling", "sobol", "ss-cam"),
}


# Each way on the CNN, whose compilation takes the least time, and each transformer compiled in one way.
@pytest.mark.parametrize(
    ("family", "compiled"),
    [
        ("cnn", compiled_before),
        pytest.param("cnn", compiled_after, marks=pytest.mark.slow),
        pytest.param("cnn", compiled_inside, marks=pytest.mark.slow),
        pytest.param("fused vit", compiled_inside, marks=pytest.mark.slow),
        pytest.param("torchvision vit", compiled_before, marks=pytest.mark.slow),
    ],
    indirect=["family"],
)
def test_compiled(
    model: nn.Module, images: Tensor, compiled: Callable[[nn.Module, Tensor], xai.Engine], in_double: Maps
) -> None:
    torch.compiler.reset()
    images = images.double()  # compiled code rounds otherwise, which some methods amplify
    engine = compiled(copy.deepcopy(model).double(), images)
    methods = [method for method in suitable(engine, images) if method.partition(":")[0] not in LIKE_SCORE_CAM]
    assert_same(engine.explain(images, methods), {method: in_double[method] for method in methods})
    with torch.no_grad():
        torch.testing.assert_close(engine.model(images), copy.deepcopy(model).double()(images))


@EACH
def test_a_compiled_model_still_runs_compiled_afterwards(model: nn.Module, images: Tensor) -> None:
    torch.compiler.reset()
    runs = []

    def backend(graph: torch.fx.GraphModule, _: list[Tensor]) -> Callable[..., Any]:
        return lambda *inputs: (runs.append(1), graph.forward(*inputs))[1]

    compiled = torch.compile(copy.deepcopy(model), backend=backend)
    with torch.no_grad():
        compiled(images)
        xai.Engine(compiled).explain(images, "grad-cam")
        runs.clear()
        compiled(images)
    assert runs


@ALONE
def test_data_parallel(model: nn.Module, images: Tensor, expected: Maps) -> None:
    assert_same(explain_all(nn.DataParallel(model), images), expected, atol=0)


class Deliberate(Exception):
    pass


@pytest.mark.parametrize("training", [False, True])
def test_exception_inside_the_model(model: nn.Module, images: Tensor, training: bool) -> None:
    engine = xai.Engine(model)
    methods = suitable(engine, images)
    model.train(training)
    before = trace(model)
    for call in range(1, 4):
        calls = iter(range(1, 100))

        def fail(*_: Any, call: int = call, calls: Iterator[int] = calls) -> None:
            if next(calls) == call:
                raise Deliberate

        handle = list(model.modules())[-1].register_forward_hook(fail)
        with pytest.raises(Deliberate):
            engine.evaluate(images, engine.explain(images, methods), "deletion")
        handle.remove()
        assert trace(model)["training"] == before["training"]
        assert trace(model)["hooks"] == before["hooks"]
    model.eval()


def test_exception_inside_the_target(model: nn.Module, images: Tensor) -> None:
    def target(output: Tensor) -> Tensor:
        raise Deliberate

    with pytest.raises(Deliberate):
        explain_all(model, images, target=target)


@pytest.mark.parametrize("where", ["needs", "explain"])
def test_exception_inside_an_explainer(model: nn.Module, images: Tensor, where: str) -> None:
    class Broken(xai.Explainer):
        name = "broken"

        def needs(self, adapter: xai.ModelAdapter) -> xai.Needs:
            if where == "needs":
                raise Deliberate
            return xai.Needs(activations=(adapter.default_layer,), gradients=True)

        def explain(self, captured: xai.Captured) -> Tensor:
            raise Deliberate

    with pytest.raises(Deliberate):
        xai.Engine(model).explain(images, ["grad-cam", Broken()])


@WITH_CNN
def test_train_mode(model: nn.Module, images: Tensor, expected: Maps) -> None:
    training = copy.deepcopy(model).train()
    next(training.children()).eval()
    before = trace(training)
    engine = xai.Engine(training)
    maps = engine.explain(images, suitable(engine, images))
    engine.evaluate(images, few(maps), ["deletion", "insertion"])
    assert_same(maps, expected, atol=0)
    after = trace(training)
    torch.testing.assert_close(after.pop("values"), before.pop("values"), atol=0, rtol=0)
    assert after == before


@pytest.mark.parametrize("family", ["cnn", pytest.param("fused vit", marks=pytest.mark.slow), SLOW_VIT], indirect=True)
def test_two_threads_on_one_model(model: nn.Module, images: Tensor) -> None:
    """Each thread explains its own images, 20 times, and gets what it would get alone.

    These methods need all that a pass captures: activations, gradients, gates, attention and its gradients.
    """
    batches = [images, images.flip(3)]
    capturing = {"grad-cam", "eigen-cam", "spatial-attention", "rollout", "generic-attention"}
    methods = [name for name in one_pass(xai.Engine(model), images) if name in capturing]
    assert len(methods) >= 3
    expected = [xai.Engine(model).explain(batch, methods) for batch in batches]
    next(model.train().children()).eval()
    modes = trace(model)["training"]
    assert {*modes.values()} == {False, True}
    start = threading.Barrier(2)

    def work(i: int) -> list[Maps]:
        engine = xai.Engine(model)
        start.wait()
        return [engine.explain(batches[i], methods) for _ in range(20)]

    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(work, range(2)))
    assert trace(model)["training"] == modes
    model.eval()
    for i, maps in enumerate(answers):
        assert len(maps) == 20
        for given in maps:
            assert_same(given, expected[i])


@ALONE
def test_a_batch_is_its_single_images(model: nn.Module, images: Tensor, expected: Maps) -> None:
    for i in range(len(images)):
        for name, saliency in explain_all(model, images[i : i + 1]).items():
            torch.testing.assert_close(saliency.values[0], expected[name].values[i], atol=1e-5, rtol=0)


@ALONE
def test_the_same_call_gives_the_same_map_and_score(model: nn.Module, images: Tensor) -> None:
    engine = xai.Engine(model)
    methods = suitable(engine, images)
    first, second = (engine.explain(images, methods) for _ in range(2))
    assert_same(first, second, atol=0)
    metrics = ["deletion:ties=random,baseline=noise,seed=3", "insertion"]
    one, two = (engine.evaluate(images, few(first), metrics) for _ in range(2))
    for method in few(first):
        for metric in metrics:
            assert torch.equal(one[method][metric].values, two[method][metric].values)


@pytest.mark.parametrize(
    ("family", "mode"),
    [
        ("cnn", torch.inference_mode),
        pytest.param("fused vit", torch.inference_mode, marks=pytest.mark.slow),
        pytest.param("torchvision vit", torch.inference_mode, marks=pytest.mark.slow),
        pytest.param("torchvision vit", torch.no_grad, marks=pytest.mark.slow),
    ],
    indirect=["family"],
)
def test_the_callers_grad_mode_does_not_matter(model: nn.Module, images: Tensor, mode: Any, expected: Maps) -> None:
    with mode():
        maps = explain_all(model, images.clone())
    assert_same(maps, expected, atol=0)


@WITH_CNN
def test_the_callers_autocast_reaches_the_model_only(model: nn.Module, images: Tensor) -> None:
    kinds = []
    handle = model.register_forward_hook(lambda _, __, output: kinds.append(output.dtype))
    with torch.autocast("cpu", torch.bfloat16):
        engine = xai.Engine(model)
        methods = {*suitable(engine, images)} - {"transformer-attribution"}  # it runs a copy of the model in float64
        maps = engine.explain(images, sorted(methods))
        engine.evaluate(images, few(maps), "insertion:steps=4")
    handle.remove()
    assert set(kinds) == {torch.bfloat16}
    assert all(saliency.values.dtype == torch.float32 for saliency in maps.values())


@WITH_CNN
def test_a_map_does_not_hold_the_graph(model: nn.Module, images: Tensor) -> None:
    for saliency in explain_all(model, images.requires_grad_()).values():
        assert not saliency.values.requires_grad
        assert not saliency.raw.requires_grad
