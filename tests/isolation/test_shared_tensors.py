"""Writes in place to tensors that plugins share are errors that name the plugin, and never reach the user's tensors.

Tensors of the inference mode have no version counters. The catalogue of misbehavior contains the writes in other modes.
"""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

import xai_core as xai
from support.misbehaving import fail
from support.models import made, three_images
from xai_core.errors import SideEffectError
from xai_core.isolation.error_context import message_with_notes, responsible_call
from xai_core.plugin import Evaluation

Deed = Callable[[Any], Any]


class Writing(xai.Explainer):
    """Does something with what was captured."""

    name = "writing"

    def __init__(self, deed: Deed, **needs: Any) -> None:
        self._deed, self._needs = deed, needs  # no options, which specs would show

    def needs(self, adapter: xai.ModelAdapter) -> xai.Needs:
        gates = adapter.probe.gates if self._needs.get("gates") else ()
        return xai.Needs((adapter.default_layer,), **{**self._needs, "gates": gates})

    def explain(self, captured: xai.Captured) -> Tensor:
        relevance = captured.activation().mean(1)
        self._deed(captured)
        return relevance


class Scribbling(xai.Metric):
    """Does something with the evaluation and the maps."""

    name = "scribbling"
    higher_is_better = True

    def __init__(self, deed: Callable[[Evaluation, xai.Saliency], Any]) -> None:
        self._deed = deed

    def evaluate(self, evaluation: Evaluation, saliency: xai.Saliency) -> xai.MetricResult:
        scores = saliency.values.mean((1, 2))
        self._deed(evaluation, saliency)
        return xai.MetricResult(scores)


EXPLAINERS: dict[str, tuple[str, Writing, str]] = {
    "images": ("cnn", Writing(lambda c: c.images.mul_(0)), "the images"),
    "images of a transformer": ("fused vit", Writing(lambda c: c.images.mul_(0)), "the images"),
    "a view": ("cnn", Writing(lambda c: c.images[:, 0].detach().flatten().fill_(1)), "the images"),
    "activation": ("cnn", Writing(lambda c: c.activation().zero_()), "the activations"),
    "tokens": ("fused vit", Writing(lambda c: c.activation().zero_()), "the activations"),
    "gradient": ("cnn", Writing(lambda c: c.gradient().relu_(), gradients=True), "the gradients"),
    "image gradient": ("cnn", Writing(lambda c: c.image_gradient.abs_(), image_gradient=True), "the gradients"),
    "curvature": ("cnn", Writing(lambda c: c.curvature().zero_(), curvature=True), "the curvatures"),
    "output": ("cnn", Writing(lambda c: c.output.zero_()), "the model's output"),
    "target": ("cnn", Writing(lambda c: c.target.ids.zero_()), "the target"),
    "gate": ("cnn", Writing(lambda c: c.gates[0].values.zero_(), gates=True), "the gates"),
    "rival": ("cnn", Writing(lambda c: c.rivals[0].gradient().zero_(), gradients=True, rivals=1), "the gradients"),
    "two": ("cnn", Writing(lambda c: c.images.add_(c.output.zero_().sum())), "the images and the model's output"),
}


@pytest.mark.parametrize(("family", "writing", "what"), EXPLAINERS.values(), ids=EXPLAINERS)
def test_a_method_that_writes_is_the_one_named(family: str, writing: Writing, what: str) -> None:
    images, before = three_images(), three_images()
    engine = xai.Engine(made(family))
    alone = engine.explain(images, "grad-cam")["grad-cam"]
    with (
        torch.inference_mode(),
        pytest.raises(SideEffectError, match=f"^writing wrote in place to {what}, which") as raised,
    ):
        engine.explain(images, [writing, "grad-cam"])
    assert responsible_call(raised.value).plugin_object is writing
    assert torch.equal(images, before)
    assert torch.equal(engine.explain(images, "grad-cam")["grad-cam"].raw, alone.raw)


def test_explicit_attention_is_shared() -> None:
    model = made("fused vit")
    for block in model.blocks:
        block.attn.fused_attn = False
    writing = Writing(lambda c: c.attention[0].rows().zero_(), attention=True)
    with pytest.raises(SideEffectError, match=r"^writing wrote in place to the attention, which"):
        xai.Engine(model).explain(three_images(), [writing, "rollout"])


def test_values_of_once_are_shared() -> None:
    first = Writing(lambda c: c.once("means", lambda: ({"of": [c.images.mean((2, 3))]},)))
    second = Writing(lambda c: c.once("means", lambda: None)[0]["of"][0].zero_())
    with pytest.raises(SideEffectError, match=r"^second wrote in place to results in `once`, which"):
        xai.Engine(made("cnn")).explain(three_images(), {"first": first, "second": second})


def test_an_exception_after_a_write_mentions_it() -> None:
    def write_and_fail(captured: xai.Captured) -> None:
        captured.images.zero_()
        fail(captured)

    with pytest.raises(RuntimeError, match="not today") as raised:
        xai.Engine(made("cnn")).explain(three_images(), Writing(write_and_fail))
    assert "writing wrote in place to the images" in message_with_notes(raised.value)


def test_what_belongs_to_one_method_may_change() -> None:
    """The output's container, attention objects and what a method computed are its own."""

    def change(captured: xai.Captured) -> None:
        captured.output.clear()
        captured.attention[0].heads = 0
        captured.activation().mean(1).zero_()

    engine = xai.Engine(made("fused vit"), forward=lambda model, images: {"logits": model(images)})
    alone = engine.explain(three_images(), ["grad-cam", "rollout"])
    changing = Writing(change, attention=True)
    reading = Writing(lambda captured: captured.output["logits"])
    methods = {"changing": changing, "grad-cam": "grad-cam", "rollout": "rollout", "reading": reading}
    found = engine.explain(three_images(), methods)
    assert all(torch.equal(found[key].raw, alone[key].raw) for key in alone)


class Resetting(xai.Explainer):
    """Sets attributes of its adapter."""

    name = "resetting"

    def needs(self, adapter: xai.ModelAdapter) -> xai.Needs:
        needs = xai.Needs((adapter.default_layer,))
        adapter.spatial = fail
        return needs

    def forward_passes(self, adapter: xai.ModelAdapter) -> int:
        adapter.layer_name = fail
        return 1

    def explain(self, captured: xai.Captured) -> Tensor:
        captured.adapter.probe = captured.adapter.model = None
        return captured.images.mean(1)


@pytest.mark.parametrize("family", ["cnn", "fused vit"])
def test_attributes_of_an_adapter_are_those_of_one_method(family: str) -> None:
    engine = xai.Engine(made(family))
    alone = engine.explain(three_images(), "grad-cam")["grad-cam"]
    for _ in range(2):
        found = engine.explain(three_images(), [Resetting(), "grad-cam"], costs=True)
        assert torch.equal(found["grad-cam"].raw, alone.raw)


METRICS: dict[str, tuple[Callable[[Evaluation, xai.Saliency], Any], str]] = {
    "images": (lambda e, s: e.images.zero_(), "the images"),
    "values": (lambda e, s: s.values.zero_(), "the maps or their target"),
    "relevance": (lambda e, s: s.raw.zero_(), "the maps or their target"),
    "target": (lambda e, s: s.target.ids.add_(1), "the maps or their target"),
    "masks": (lambda e, s: e.masks.logical_not_(), "the masks"),
    "once": (lambda e, s: e.once(("score", "logit"), fail).zero_(), "results in `once`"),
}


@pytest.mark.parametrize(("deed", "what"), METRICS.values(), ids=METRICS)
@pytest.mark.parametrize("grad", [torch.enable_grad, torch.inference_mode])
def test_a_metric_that_writes_is_the_one_named(
    deed: Callable[[Evaluation, xai.Saliency], Any], what: str, grad: Callable[[], Any]
) -> None:
    images, masks = three_images(), torch.zeros(3, 32, 32, dtype=torch.bool)
    masks[:, :5] = True
    engine, metrics = xai.Engine(made("cnn")), ["deletion:steps=2", "insertion:steps=2"]
    maps = engine.explain(images, ["grad-cam"])
    before = [tensor.clone() for tensor in (images, masks, maps["grad-cam"].values, maps["grad-cam"].raw)]
    ids = maps["grad-cam"].target.ids.clone()
    alone = engine.evaluate(images, maps, metrics, masks)
    scribbling = Scribbling(deed)
    keep = Scribbling(lambda e, s: e.once(("score", "logit"), lambda: e.model_score(e.images)))
    message = f"^bad for maps of grad-cam wrote in place to {what}, which"
    with grad(), pytest.raises(SideEffectError, match=message) as raised:
        engine.evaluate(images, maps, {"keep": keep, "bad": scribbling}, masks)
    assert responsible_call(raised.value).plugin_object is scribbling
    after = (images, masks, maps["grad-cam"].values, maps["grad-cam"].raw)
    assert all(map(torch.equal, after, before))
    assert torch.equal(maps["grad-cam"].target.ids, ids)
    again = engine.evaluate(images, maps, metrics, masks)["grad-cam"]
    assert all(torch.equal(again[name].values, alone["grad-cam"][name].values) for name in metrics)


def test_a_tensor_of_the_user_is_not_written_to() -> None:
    relevance = torch.rand(3, 32, 32)
    before = relevance.clone()
    with pytest.raises(SideEffectError):
        xai.Engine(made("cnn")).evaluate(three_images(), relevance, Scribbling(lambda e, s: s.raw.zero_()))
    assert torch.equal(relevance, before)


def test_values_of_once_belong_to_one_package() -> None:
    """Keys of different packages do not collide."""
    found: list[Any] = []
    of_key = lambda c, value: found.append(c.once("key", lambda: value))  # noqa: E731
    here, theirs = Writing(lambda c: of_key(c, "here")), Writing(lambda c: of_key(c, "theirs"))
    theirs.__class__ = type("Theirs", (Writing,), {"__module__": "their_cam.method"})
    same = Writing(lambda c: of_key(c, "same"))
    engine = xai.Engine(made("cnn"))
    maps = engine.explain(three_images(), {"here": here, "theirs": theirs, "same": same})
    assert found == ["here", "theirs", "here"]
    metrics = [Scribbling(lambda e, s, value=value: of_key(e, value)) for value in ("here", "theirs", "same")]
    metrics[1].__class__ = type("Theirs", (Scribbling,), {"__module__": "their_cam.metric"})
    engine.evaluate(three_images(), maps["here"], dict(zip("abc", metrics, strict=True)))
    assert found[3:] == ["here", "theirs", "here"]


def test_a_required_gradient_is_undone() -> None:
    def require(captured: xai.Captured) -> None:
        with torch.enable_grad():
            captured.activation().requires_grad_().square().sum().backward()
            captured.images.requires_grad_()

    found: list[tuple[bool, Any]] = []
    reading = Writing(lambda c: found.extend((each.requires_grad, each.grad) for each in (c.images, c.activation())))
    engine = xai.Engine(made("cnn"))
    engine.explain(three_images(), {"requiring": Writing(require), "reading": reading})
    assert found == [(False, None)] * 2
    saliency = engine.explain(three_images(), "grad-cam")
    requiring = Scribbling(lambda e, s: (s.values.requires_grad_(), e.images.requires_grad_()))
    watching = Scribbling(lambda e, s: found.extend((each.requires_grad, each.grad) for each in (s.values, e.images)))
    engine.evaluate(three_images(), saliency, {"requiring": requiring, "watching": watching})
    assert found == [(False, None)] * 4
