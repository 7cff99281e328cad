"""One forward and at most one backward for all explainers; no graph before the earliest captured layer."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

import xai_core as xai
from support.explaining import captured_by, one_pass, suitable
from support.models import SmallCNN, settled
from support.observing import HostReads, counted
from xai_core.errors import LayerError, NotCapturedError, NotConnectedError

# Of maps of four by four places, some are constant by nature.
pytestmark = pytest.mark.filterwarnings("ignore::xai_core.errors.ConstantMapWarning")


ONE_PASS_CAMS = (
    "cam", "grad-cam", "grad-cam++", "xgrad-cam", "hires-cam", "layer-cam", "element-wise-cam", "eigen-cam",
    "eigen-grad-cam",
)  # fmt: skip


def test_one_forward_and_one_backward_for_all(model: nn.Module, images: Tensor) -> None:
    engine = xai.Engine(model)
    methods: list[Any] = one_pass(engine, images)
    assert set(ONE_PASS_CAMS) - ({"cam"} if not isinstance(model, SmallCNN) else set()) <= set(methods)
    earlier = next(iter(engine.adapter(images).probe.features))
    methods.append(xai.create_explainer("grad-cam", layer=earlier))
    with counted(model) as counts:
        maps = engine.explain(images, methods)
    assert len(maps) == len(methods)
    assert counts == {"forward": 1, "backward": 1}


def test_a_fresh_engine_adds_one_probe_of_one_image(model: nn.Module, images: Tensor) -> None:
    seen = []
    handle = model.register_forward_hook(lambda _, args, __: seen.append(len(args[0])))
    engine = xai.Engine(model)
    for _ in range(2):
        engine.explain(images, "grad-cam")
    handle.remove()
    probe, *coded = seen[:-2]
    assert (probe, seen[-2:]) == (1, [3, 3])
    assert sum(coded) <= 30 if isinstance(model, SmallCNN) else 4 < sum(coded) <= 30


def test_no_backward_where_no_gradient_is_needed(model: nn.Module, images: Tensor) -> None:
    engine = xai.Engine(model)
    engine.adapter(images)
    for method in {"score-cam", "rollout", "head-attention"} & set(suitable(engine, images)):
        with counted(model) as counts:
            engine.explain(images, method)
        assert counts["backward"] == 0


def test_the_part_before_the_earliest_layer_builds_no_graph(model: nn.Module, images: Tensor) -> None:
    engine = xai.Engine(model)
    adapter = engine.adapter(images)
    layer = adapter.default_layer
    modules = dict(model.named_modules())
    graph: dict[str, bool] = {}
    order: list[str] = []

    def note(name: str, output: Any) -> None:
        order.append(name)
        graph[name] = isinstance(output, Tensor) and output.requires_grad

    handles = [
        module.register_forward_hook(lambda _, __, output, name=name: note(name, output))
        for name, module in modules.items()
        if not any(True for _ in module.children())
    ]
    captured_at: list[int] = []
    handles.append(modules[layer].register_forward_hook(lambda *_: captured_at.append(len(order))))
    engine.explain(images, "grad-cam")
    for handle in handles:
        handle.remove()
    before, after = order[: captured_at[0]], order[captured_at[0] :]
    assert before
    assert not any(graph[name] for name in before)
    assert graph[after[-1]]


def test_several_layers_of_one_pass(images: Tensor) -> None:
    model = settled(SmallCNN())
    captured = captured_by(model, images, xai.Needs(("stem", "body", model.last), gradients=True), target=2)
    assert captured.layers == ("stem", "body", "last")

    leaf = images.clone().requires_grad_()
    stem = model.stem(leaf)
    stem.retain_grad()
    body = model.body(stem)
    body.retain_grad()
    last = model.last((stem + body).relu())
    last.retain_grad()
    model.head(last.mean((2, 3)).relu())[:, 2].sum().backward()
    model.zero_grad()
    for name, expected in {"stem": stem, "body": body, "last": last}.items():
        torch.testing.assert_close(captured.activation(name), expected.detach())
        torch.testing.assert_close(captured.gradient(name), expected.grad)


def test_a_layer_that_runs_twice_gives_its_last_output(images: Tensor) -> None:
    class Twice(SmallCNN):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) if x.shape[1] != 8 else x

        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Conv2d(8, 8, 3, 1, 1))
            self.stem = nn.Sequential(self.stem, self.body)

    model = settled(Twice())
    captured = captured_by(model, images, xai.Needs((model.body,), gradients=True))
    stem = model.stem(images)
    torch.testing.assert_close(captured.activation(), model.body(stem).detach())


def test_outputs_that_are_containers(images: Tensor) -> None:
    class Wrapped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Conv2d(3, 4, 3, 2, 1)

        def forward(self, x: Tensor) -> dict[str, Any]:
            return {"features": [self.inner(x), "more"], "other": x}

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.trunk, self.head = Wrapped(), nn.Linear(4, 3)

        def forward(self, x: Tensor) -> dict[str, Tensor]:
            return {"logits": self.head(self.trunk(x)["features"][0].relu().mean((2, 3)))}

    model = Model()
    maps = xai.Engine(model).explain(images, ["grad-cam", xai.create_explainer("grad-cam", layer="trunk")])
    first, second = maps.values()
    torch.testing.assert_close(first.values, second.values)


def test_only_what_was_declared_is_shown(model: nn.Module, images: Tensor) -> None:
    layer = xai.Engine(model).adapter(images).default_layer
    captured = captured_by(model, images, xai.Needs((layer,)))
    captured.activation(layer)
    with pytest.raises(NotCapturedError, match="gradients=True"):
        captured.gradient()
    with pytest.raises(NotCapturedError, match="attention=True"):
        captured.attention  # noqa: B018
    with pytest.raises(NotCapturedError, match="was not declared"):
        captured.activation(next(name for name, _ in model.named_modules() if name not in ("", layer)))


def test_layers_that_cannot_be_captured(images: Tensor) -> None:
    class Aside(SmallCNN):
        def __init__(self) -> None:
            super().__init__()
            self.aside = nn.Conv2d(3, 2, 3, 2, 1)
            self.never = nn.Conv2d(3, 2, 1)

        def forward(self, x: Tensor) -> Tensor:
            self.aside(x)
            return super().forward(x)

    engine = xai.Engine(settled(Aside()))
    with pytest.raises(NotConnectedError, match="aside"):
        engine.explain(images, "grad-cam:layer=aside")
    with pytest.raises(LayerError, match="never"):
        engine.explain(images, "grad-cam:layer=never")
    with pytest.raises(LayerError, match=r"no layer 'lats'.*last"):
        engine.explain(images, "grad-cam:layer=lats")
    with pytest.raises(LayerError, match="has no spatial output"):
        engine.explain(images, "grad-cam:layer=head")
    with pytest.raises(LayerError, match="not part of this model"):
        engine.explain(images, xai.create_explainer("grad-cam", layer=nn.Conv2d(1, 1, 1)))


def test_a_trunk_under_no_grad(images: Tensor) -> None:
    """A `no_grad` block inside the model that holds the layer does not cut the gradient after it."""

    class FrozenTrunk(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cnn = settled(SmallCNN())

        def forward(self, x: Tensor) -> Tensor:
            with torch.no_grad():
                x = self.cnn.last(self.cnn.stem(x))
            return self.cnn.head(self.cnn.pool(x).flatten(1))

    model = FrozenTrunk().eval()
    layer = xai.Engine(model).adapter(images).default_layer
    captured = captured_by(model, images, xai.Needs((layer,), gradients=True), target=1)
    features = model.cnn.last(model.cnn.stem(images)).detach()
    assert layer == "cnn.last"
    torch.testing.assert_close(captured.activation(), features)
    expected = model.cnn.head.weight[1].detach()[:, None, None] / features[0, 0].numel()
    torch.testing.assert_close(captured.gradient(), expected.expand_as(features))


def reads_on_the_host(name: str) -> bool:
    """Whether an explainer says that it computes there."""
    return "avoids_host_transfers" in xai.create_explainer(name).expected_failures


def test_no_host_reads(model: nn.Module, images: Tensor) -> None:
    engine = xai.Engine(model)
    methods = [name for name in suitable(engine, images) if not reads_on_the_host(name)]
    engine.explain(images, methods)
    with HostReads() as explaining:
        maps = engine.explain(images, methods)
    assert len(explaining.reads) <= 1, explaining.reads
    for target in (1, [0, 1, 2], torch.tensor([0, 1, 2])):
        with HostReads() as explaining:
            engine.explain(images, ["grad-cam", "score-cam"], target=target)
        assert len(explaining.reads) <= 1, explaining.reads
    few = dict(list(maps.items())[:3])  # metrics treat the maps of all methods alike
    with HostReads() as evaluating:
        engine.evaluate(images, few, ["deletion", "insertion", "deletion:ties=random,baseline=noise,steps=5"])
    assert len(evaluating.reads) <= 1, evaluating.reads


@pytest.mark.parametrize("read", [Tensor.item, Tensor.nonzero, bool, lambda t: t.to("cpu", torch.float64)])
def test_the_counter_of_host_reads_counts(read: Any) -> None:
    with HostReads() as counter:
        read(torch.ones(()))
    assert counter.reads


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_one_synchronization_on_cuda(model: nn.Module, images: Tensor) -> None:
    engine = xai.Engine(model.cuda())
    images = images.cuda()
    methods = [name for name in suitable(engine, images) if not reads_on_the_host(name)]
    maps = engine.explain(images, methods)
    engine.evaluate(images, maps, ["deletion", "insertion"])
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with pytest.warns(UserWarning, match="synchroniz") as explaining:
            maps = engine.explain(images, methods, target=[0, 1, 2])
        with pytest.warns(UserWarning, match="synchroniz") as evaluating:
            engine.evaluate(images, maps, ["deletion", "insertion"])
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert len(explaining) == len(evaluating) == 1
    assert all(saliency.values.is_cuda for saliency in maps.values())
