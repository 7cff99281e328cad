"""Models in other runtimes have the maps and the scores of the plain eager model, or one clear error."""

import functools
import threading
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import xai_core as xai
from support.runtimes import (
    RUNTIMES,
    Columns,
    Lazy,
    Padded,
    Runtime,
    Small,
    example,
    exported,
    int8_dynamic,
    process_group,
    seeded,
)
from xai_core.errors import (
    InputShapeError,
    InputTypeError,
    LayerError,
    NoGradientError,
    NotConnectedError,
    UnsuitableError,
)
from xai_core.model import compatibility
from xai_core.model.process_settings import without_reentrant_checkpoints

pytestmark = [
    pytest.mark.filterwarnings("ignore::xai_core.errors.ConstantMapWarning"),
    pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors"),
]
TARGET = 3


@pytest.fixture(scope="module", autouse=True)
def distributed() -> Iterator[None]:
    with process_group():
        yield
        engine_of.cache_clear()


@pytest.fixture(params=RUNTIMES)
def runtime(request: pytest.FixtureRequest) -> Runtime:
    return RUNTIMES[request.param]


@functools.cache
def engine_of(runtime: Runtime) -> xai.Engine:
    """The engine of a runtime, which reads the model once for all tests."""
    return xai.Engine(runtime.make(), block=runtime.block)


def raw(runtime: Runtime, method: str) -> Tensor:
    return engine_of(runtime).explain(example(runtime.images), method, TARGET)[method].raw


def probability(model: nn.Module, images: Tensor) -> Tensor:
    with torch.no_grad():
        return model(images).softmax(1)[:, TARGET]


def observed(model: nn.Module, layer: str, images: Tensor) -> tuple[Tensor, Tensor]:
    """Return the output of the model and of a layer, by a plain hook."""
    kept: list[Tensor] = []
    handle = model.get_submodule(layer).register_forward_hook(lambda module, args, output: kept.append(output))
    output = model(images)
    handle.remove()
    return output, kept[0]


def test_methods_that_use_scores_only(runtime: Runtime) -> None:
    model, images = runtime.plain(), example(runtime.images)
    whole, expected = probability(model, images), torch.zeros(runtime.images, 16, 16)
    for row in (slice(8), slice(8, 16)):
        for column in (slice(8), slice(8, 16)):
            hidden = images.clone()
            hidden[..., row, column] = 0
            expected[:, row, column] = (whole - probability(model, hidden))[:, None, None]
    torch.testing.assert_close(raw(runtime, "occlusion:size=8,stride=8"), expected, atol=1e-6, rtol=1e-4)
    assert raw(runtime, "random").shape == (runtime.images, 16, 16)


def test_metrics(runtime: Runtime) -> None:
    images, engine = example(runtime.images), engine_of(runtime)
    maps = engine.explain(images, "center", TARGET)
    scores = engine.evaluate(images, maps, ["deletion:steps=1", "insertion:steps=1"])["center"]
    ends = probability(runtime.plain(), images), probability(runtime.plain(), torch.zeros_like(images))
    torch.testing.assert_close(scores["deletion:steps=1"].curve, torch.stack(ends, 1))
    assert scores["insertion:steps=1"].curve is not None
    torch.testing.assert_close(scores["insertion:steps=1"].curve[:, 1], ends[0])


def test_methods_that_use_activations(runtime: Runtime) -> None:
    """Score-CAM, equation by equation."""
    method = f"score-cam:layer={runtime.layer or 'last'}"
    if runtime.layer is None:
        with pytest.raises(LayerError, match=r"cannot be observed|has no layers"):
            raw(runtime, method)
        return
    model, images = runtime.plain(), example(runtime.images)
    with torch.no_grad():
        _, activation = observed(model, runtime.plain_layer, images)
    activation = activation.dequantize() if activation.is_quantized else activation
    expected = torch.zeros(len(images), 4, 4)
    for channel in activation.unbind(1):
        up = F.interpolate(channel[:, None], (16, 16), mode="bilinear")
        low, high = up.amin((2, 3), keepdim=True), up.amax((2, 3), keepdim=True)
        weight = probability(model, images * ((up - low) / (high - low).clamp_min(1e-12)))
        expected += weight.where((high > low).flatten(), 0)[:, None, None] * channel
    torch.testing.assert_close(raw(runtime, method), expected.relu(), atol=1e-5, rtol=1e-4)


def test_methods_that_use_gradients(runtime: Runtime) -> None:
    """Grad-CAM, by plain autograd."""
    method = f"grad-cam:layer={runtime.layer or 'last'}"
    if runtime.layer is None:
        with pytest.raises(LayerError, match="occlusion"):
            raw(runtime, method)
        return
    if not runtime.gradients:
        with pytest.raises((NoGradientError, NotConnectedError), match=r"use .*score-cam"):
            raw(runtime, method)
        return
    output, activation = observed(runtime.plain(), runtime.plain_layer, example())
    (gradient,) = torch.autograd.grad(output[:, TARGET].sum(), activation)
    expected = (gradient.mean((2, 3), keepdim=True) * activation).sum(1).relu()
    torch.testing.assert_close(raw(runtime, method), expected.detach(), atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("method", ["saliency:channels=max", "integrated-gradients:n_steps=1,channels=sum"])
def test_methods_that_use_the_gradient_of_the_images(runtime: Runtime, method: str) -> None:
    """The gradient itself, and integrated gradients with one step, which is at the middle of the path."""
    if not runtime.gradients:
        with pytest.raises((NoGradientError, NotConnectedError), match="use "):
            raw(runtime, method)
        return
    if runtime in (RUNTIMES["sharded"], RUNTIMES["unflattened"]) and "integrated" in method:
        with pytest.raises(UnsuitableError, match="copy"):
            raw(runtime, method)
        return
    integrated = method.startswith("integrated")
    images = (example(runtime.images) / (2 if integrated else 1)).requires_grad_()
    (gradient,) = torch.autograd.grad(runtime.plain()(images)[:, TARGET].sum(), images)
    expected = (gradient * images.detach() * 2).sum(1) if integrated else gradient.abs().amax(1)
    torch.testing.assert_close(raw(runtime, method), expected, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("name", [name for name, runtime in RUNTIMES.items() if runtime.gradients])
def test_several_targets_have_the_maps_of_each(name: str) -> None:
    runtime, method = RUNTIMES[name], "saliency"
    images, engine = example(runtime.images), engine_of(runtime)
    both = engine.explain(images, method, [[1, TARGET]] * runtime.images)[method].raw
    for index, target in enumerate([1, TARGET]):
        torch.testing.assert_close(both[:, index], engine.explain(images, method, target)[method].raw)


@pytest.mark.parametrize("name", ["offloaded", "sharded", "made in inference mode", "scripted child", "tensor hook"])
def test_the_model_stays_as_it_was(name: str) -> None:
    model, images = RUNTIMES[name].make(), example()
    before = [*model.state_dict()], [module.training for module in model.modules()]
    hooks = [len(module._forward_hooks) for module in model.modules()]
    engine = xai.Engine(model)
    maps = engine.explain(images, ["grad-cam", "score-cam", "ablation-cam", "occlusion"])
    engine.evaluate(images, maps, "deletion:steps=2")
    assert before == ([*model.state_dict()], [module.training for module in model.modules()])
    assert hooks == [len(module._forward_hooks) for module in model.modules()]
    with torch.no_grad() if name == "made in inference mode" else torch.enable_grad():
        torch.testing.assert_close(model(images), seeded(Small)(images))


def test_a_part_of_a_model_runs_with_offloaded_and_sharded_weights() -> None:
    """Ablation-CAM runs the layers after a layer."""
    expected = raw(Runtime(lambda: seeded(Small)), "ablation-cam")
    for name in ("offloaded", "sharded", "scripted child", "tensor hook", "made in inference mode"):
        torch.testing.assert_close(raw(RUNTIMES[name], "ablation-cam"), expected)


@pytest.mark.parametrize("name", ["offloaded", "sharded"])
def test_weights_that_each_pass_replaces_are_never_computed_without_values(name: str) -> None:
    """A part of a model runs on meta tensors before the layer, which FSDP could take for gathered weights."""
    devices = set()

    def forward(model: nn.Module, images: Tensor) -> Tensor:
        devices.add(images.device.type)
        return model(images)

    xai.Engine(RUNTIMES[name].make(), forward=forward).explain(example(), "ablation-cam")
    assert devices == {"cpu"}
    xai.Engine(seeded(Small), forward=forward).explain(example(), "ablation-cam")
    assert devices == {"cpu", "meta"}


@pytest.mark.parametrize("layer", ["encoder.layers.0", "encoder.layers.1"])
def test_a_layer_inside_an_encoder_of_padded_tokens(layer: str) -> None:
    """The fast path of the encoder would pass nested tensors to the layer."""
    images, method = example(), f"hires-cam:layer={layer}"
    output, tokens = observed(seeded(Padded), layer, images)
    (gradient,) = torch.autograd.grad(output[:, TARGET].sum(), tokens)
    expected = (gradient * tokens).sum(2).relu().unflatten(1, (4, 4)).detach()
    maps = raw(RUNTIMES["padded, frozen"], method)
    torch.testing.assert_close(maps, expected, atol=1e-6, rtol=1e-4)
    assert not maps.flatten(1)[:, 13:].any()
    assert torch.backends.mha.get_fastpath_enabled()


def test_attention_that_cannot_be_observed() -> None:
    for name in ("scripted", "exported"):
        with pytest.raises(LayerError, match=r"TorchScript|exported"):
            raw(RUNTIMES[name], "rollout")


class Residual(Small):
    """Adds a linear map of the pixels of a feature map to it."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Linear(12, 12)

    def forward(self, x: Tensor) -> Tensor:
        x = self.last(self.stem(x)).flatten(2).mT
        return self.head((x + self.mix(x)).mean(1))


def test_a_gradient_that_would_lack_a_part_is_an_error() -> None:
    """PyTorch only warns that it omits the int8 branch."""
    engine = xai.Engine(int8_dynamic(Residual, "mix"))
    for method in ("grad-cam:layer=last", "saliency", "integrated-gradients:n_steps=2"):
        with pytest.raises(NoGradientError, match="int8 layers; use a method without gradients"):
            engine.explain(example(), method)


def test_attention_of_an_int8_transformer() -> None:
    """Rollout of attention through int8 projections, by equation 1 of the paper."""
    torch.manual_seed(0)
    model = timm.create_model(
        "vit_tiny_patch16_224", img_size=32, patch_size=8, embed_dim=32, depth=2, num_heads=4, num_classes=5
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = torch.ao.quantization.quantize_dynamic(model.eval(), {nn.Linear})
    images = torch.randn(1, 3, 32, 32)
    engine = xai.Engine(model)
    matrices = [weights.mean(1) for weights in engine.attention(images).weights]
    eye = torch.eye(17)
    expected = (matrices[1] + eye) / 2 @ ((matrices[0] + eye) / 2)
    maps = engine.explain(images, "rollout")["rollout"].raw
    torch.testing.assert_close(maps.flatten(1), expected[:, 0, 1:])


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_recurrent_layers_run_without_cudnn(kind: type[nn.RNNBase], monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel of cuDNN has no backward pass in evaluation mode."""
    seen = []

    class Watching(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if getattr(func, "__name__", "") in compatibility.RECURRENT:
                seen.append(torch.backends.cudnn.enabled)
            return func(*args, **(kwargs or {}))

    monkeypatch.setattr(compatibility, "CUDNN_DEVICES", ("cpu",))
    with Watching():
        xai.Engine(seeded(lambda: Columns(kind))).explain(example(), "grad-cam:layer=last")
    assert seen
    assert not any(seen)
    assert torch.backends.cudnn.enabled


def test_checkpoints_of_other_threads_are_kept() -> None:
    def run() -> None:
        output = checkpoint(nn.Linear(2, 2), torch.ones(1, 2, requires_grad=True), use_reentrant=True)
        nodes.append(type(output.grad_fn).__name__)

    nodes: list[str] = []
    with without_reentrant_checkpoints():
        run()
        other = threading.Thread(target=run)
        other.start()
        other.join()
    run()
    assert nodes == ["AddmmBackward0", "CheckpointFunctionBackward", "CheckpointFunctionBackward"]


def test_ordinary_models_run_without_a_function_mode() -> None:
    depths = []

    class Counting(Small):
        def forward(self, x: Tensor) -> Tensor:
            depths.append(torch._C._len_torch_function_stack())
            return super().forward(x)

    engine = xai.Engine(seeded(Counting))
    engine.adapter(example())
    del depths[:]
    engine.explain(example(), "grad-cam")
    engine.explain(example(), "rise:masks=2")
    assert depths
    assert set(depths) == {0}


def test_a_model_exported_for_two_images_is_an_error_with_advice() -> None:
    model = exported(2)
    with pytest.raises(InputShapeError, match=r"2 images, but not on one image .*dynamic_shapes.*`forward=`"):
        xai.Engine(model).explain(example(2), "random")

    def forward(model: nn.Module, images: Tensor) -> Tensor:
        pairs = F.pad(images, (0, 0, 0, 0, 0, 0, 0, len(images) % 2)).split(2)
        return torch.cat([model(pair) for pair in pairs])[: len(images)]

    maps = xai.Engine(model, forward=forward).explain(example(3), "occlusion", TARGET)
    expected = xai.Engine(seeded(Small)).explain(example(3), "occlusion", TARGET)
    torch.testing.assert_close(maps["occlusion"].raw, expected["occlusion"].raw)


def test_lazy_modules_have_to_run_once() -> None:
    model = seeded(Lazy)
    with pytest.raises(InputTypeError, match=r"'head.weight'; run the model once"):
        xai.Engine(model)
    model(example())
    assert not xai.Engine(model).explain(example(), "grad-cam", TARGET)["grad-cam"].raw.isnan().any()


@pytest.mark.parametrize(
    ("name", "method", "reason"),
    [
        ("scripted child", "full-grad", "TorchScript"),
        ("scripted child", "guided-backprop", "TorchScript"),
        ("traced child", "deep-lift", "TorchScript"),
        ("traced child", "lrp", "TorchScript"),
        ("int8 dynamic", "deep-lift", "int8"),
        ("offloaded", "cam", "offloaded"),
        ("offloaded", "full-grad", "offloaded"),
        ("sharded", "full-grad", "sharded"),
    ],
)
def test_methods_that_change_modules_or_read_weights(name: str, method: str, reason: str) -> None:
    with pytest.raises(UnsuitableError, match=rf"{method} does not support {reason}|{method} .*{reason}"):
        raw(RUNTIMES[name], method)


@pytest.mark.parametrize("name", ["scripted", "scripted child", "int8 dynamic", "offloaded", "sharded"])
def test_weights_that_cannot_be_randomized(name: str) -> None:
    engine, images = xai.Engine(RUNTIMES[name].make()), example()
    maps = engine.explain(images, "occlusion")
    with pytest.raises(UnsuitableError, match="parameter-randomization does not support"):
        engine.evaluate(images, maps, "parameter-randomization")


def test_errors_of_the_model_itself_are_not_replaced() -> None:
    class Failing(Small):
        def forward(self, x: Tensor) -> Tensor:
            raise RuntimeError("the model's own")

    with pytest.raises(RuntimeError, match="the model's own"):
        xai.Engine(seeded(Failing)).explain(example(), "grad-cam")
