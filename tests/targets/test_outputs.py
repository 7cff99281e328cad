"""Outputs other than one row of scores per image: the tensor that is explained, and what is rejected with one error."""

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

import xai_core as xai
from support.models import SmallCNN, fused_vit, settled
from xai_core.errors import InputTypeError, ModelOutputError, TargetError

IMAGES = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(2))


class Wrapped(nn.Module):
    """Returns what a function makes of the scores [B,5] of a classifier."""

    def __init__(self, wrap: Callable[[Tensor], Any], vision: nn.Module | None = None) -> None:
        super().__init__()
        self.vision = vision or SmallCNN()
        self.wrap = wrap

    def forward(self, x: Tensor) -> Any:
        return self.wrap(self.vision(x))


@pytest.fixture(scope="module")
def vision() -> nn.Module:
    torch.manual_seed(0)
    return settled(SmallCNN())


@pytest.fixture(scope="module")
def plain(vision: nn.Module) -> Tensor:
    return xai.Engine(vision).explain(IMAGES, "hires-cam")["hires-cam"].raw


class Both(NamedTuple):
    aux_logits: Tensor
    logits: Tensor


TWO_HEADS: dict[str, tuple[Callable[[Tensor], Any], str | int | None]] = {
    "logits of a dict": (lambda y: {"loss": y.sum(), "domain": -y, "logits": y}, None),
    "logits of a named tuple": (lambda y: Both(-y, y), None),
    "the only one with a row per image": (lambda y: (y.new_ones(7, 5), y.sum(), y[:, :, None], y), None),
    "the only one of numbers": (lambda y: (y.argsort(1), y), None),
    "the only one, nested": (lambda y: [{"a": (None, y)}, "text"], None),
    "hidden states": (lambda y: {"of": y, "hidden_states": (-y, -y), "last_hidden_state": -y, "attentions": -y}, None),
    "the only one, by a usual name of hidden states": (lambda y: {"last_hidden_state": y}, None),
    "a name": (lambda y: {"domain": -y, "classes": y}, "classes"),
    "a name beside logits": (lambda y: {"logits": -y, "classes": y}, "classes"),
    "a name of a named tuple": (lambda y: Both(y, -y), "aux_logits"),
    "an index": (lambda y: (-y, y), 1),
    "an index from the end": (lambda y: [-y, -y, y], -1),
    "an index of a dict": (lambda y: {"domain": -y, "classes": y}, 1),
    "a nested name": (lambda y: {"heads": {"domain": -y, "classes": [-y, y]}}, "heads.classes.1"),
    "a name with a dot": (lambda y: {"head.0": y, "head": {"0": -y}}, "head.0"),
}  # fmt: skip


@pytest.mark.parametrize("name", TWO_HEADS)
def test_the_explained_tensor(name: str, vision: nn.Module, plain: Tensor) -> None:
    wrap, part = TWO_HEADS[name]
    engine = xai.Engine(Wrapped(wrap, vision), output=part)
    maps = engine.explain(IMAGES, "hires-cam")
    torch.testing.assert_close(maps["hires-cam"].raw, plain)
    [curve] = engine.evaluate(IMAGES, maps["hires-cam"], "deletion:steps=2,score=logit").values()
    assert curve.curve is not None
    torch.testing.assert_close(curve.curve[:, 0], vision(IMAGES).amax(1).detach())


class Output:
    """An object of a model's own."""

    def __init__(self, y: Tensor) -> None:
        self.scores = y


def test_an_attribute_of_an_object(vision: nn.Module, plain: Tensor) -> None:
    model = Wrapped(Output, vision)
    raw = xai.Engine(model, output="scores").explain(IMAGES, "hires-cam")["hires-cam"].raw
    torch.testing.assert_close(raw, plain)
    with pytest.raises(ModelOutputError, match=r"class scores \[1, K\].*got Output;.*`forward=`"):
        xai.Engine(model).explain(IMAGES, "hires-cam")


def test_targets_receive_the_named_part_alone(vision: nn.Module) -> None:
    engine = xai.Engine(Wrapped(lambda y: {"a": -y, "b": y}, vision), output="b")
    by_function = engine.explain(IMAGES, "hires-cam", lambda output: output[:, 2])["hires-cam"].raw
    torch.testing.assert_close(by_function, xai.Engine(vision).explain(IMAGES, "hires-cam", 2)["hires-cam"].raw)


REJECTED: dict[str, tuple[Callable[[Tensor], Any], str]] = {
    "several in a dict": (
        lambda y: {"kind": y, "domain": y[:, :2], "maps": y[:, :, None, None]},
        r"several tensors.*class scores \[1, K\]: 'kind' \[1, 5\], 'domain' \[1, 2\]; choose .*output='kind'\)",
    ),
    "several in a tuple": (lambda y: (y, y), r"several tensors.*: 0 \[1, 5\], 1 \[1, 5\]; .*output=0\)"),
    "several, nested": (lambda y: {"a": {"b": y, "c": y}}, r"'a.b' \[1, 5\], 'a.c' \[1, 5\]; .*output='a.b'\)"),
    "logits that are no class scores": (
        lambda y: {"logits": y[:, None], "x": y}, r"class scores \[1, K\].*got dict of 'logits' \[1, 1, 5\], 'x'",
    ),
    "one row for a bag of images": (lambda y: y.mean(0, keepdim=True), r"class scores \[4, K\].*got a tensor \[1, 5\]"),
    "one row for a bag, in a dict": (
        lambda y: {"logits": y.mean(0, keepdim=True), "of each": y},
        r"class scores \[4, K\].*'logits' \[1, 5\], 'of each' \[4, 5\]",
    ),
    "four rows for any image": (
        lambda y: y.mean(0).expand(4, -1), r"for one image, expected class scores \[1, K\].*got a tensor \[4, 5\]",
    ),
    "two rows for each image": (lambda y: y.repeat(2, 1), r"for one image, .*got a tensor \[2, 5\]"),
    "pixels": (lambda y: y[:, :, None, None], r"got a tensor \[1, 5, 1, 1\]; .*target=Region\(class\)"),
    "one number per image": (lambda y: y[:, 0], r"got a tensor \[1\]; .*view\(len\(images\), -1\)"),
    "integers": (lambda y: y.argmax(1, keepdim=True), r"class scores \[1, K\].*got a tensor \[1, 1\]"),
    "text": (lambda y: ["a cat"] * len(y), r"class scores \[1, K\].*got list; "),
    "detections": (
        lambda y: [{"boxes": y[:4, :4], "labels": y.argmax(1), "scores": y[0]} for _ in y],
        r"class scores \[1, K\].*got a list of dicts \(boxes, labels, scores\); .*`target=Box",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REJECTED)
def test_outputs_without_class_scores_are_rejected_with_advice(name: str, vision: nn.Module) -> None:
    wrap, message = REJECTED[name]
    engine = xai.Engine(Wrapped(wrap, vision))
    for act in (
        lambda: engine.explain(IMAGES, "grad-cam"),
        lambda: engine.explain(IMAGES, "occlusion", 2),
        lambda: engine.explain(IMAGES, "grad-cam", xai.Contrast(0, 1)),
        lambda: engine.evaluate(IMAGES, torch.rand(4, 8, 8), "deletion:steps=2"),
    ):
        with pytest.raises(ModelOutputError, match=message):
            act()


def test_a_part_that_does_not_exist(vision: nn.Module) -> None:
    for wrap, part, message in (
        (lambda y: {"a": y, "b": y}, "c", r"no part 'c'; it is dict of 'a' \[1, 5\], 'b' \[1, 5\]"),
        (lambda y: (y, y), 2, r"no part 2; it is tuple of 0 \[1, 5\], 1 \[1, 5\]"),
        (lambda y: y, "T", r"no part 'T'; it is a tensor \[1, 5\]"),
        (lambda y: {"a": {"b": y}}, "a.c", r"no part 'c'; it is dict of 'b' \[1, 5\]"),
    ):
        with pytest.raises(ModelOutputError, match=message):
            xai.Engine(Wrapped(wrap, vision), output=part).explain(IMAGES, "grad-cam")
    for wrong in (True, 1.5, ("a", "b")):
        with pytest.raises(InputTypeError, match="`output` as the name or the index"):
            xai.Engine(vision, output=wrong)  # type: ignore[arg-type]


def test_perturbed_images_without_a_row_each_are_rejected(vision: nn.Module) -> None:
    """One image is one row, but a block of its variants is one row too."""
    engine = xai.Engine(Wrapped(lambda y: y.mean(0, keepdim=True), vision))
    with pytest.raises(ModelOutputError, match=r"class scores \[\d+, K\].*got a tensor \[1, 5\]"):
        engine.explain(IMAGES[:1], "rise:masks=8")


def test_a_function_explains_what_has_no_rows(vision: nn.Module) -> None:
    """A target that reads the output itself needs no class scores, and is held to one number per image."""
    detector = Wrapped(lambda y: [{"boxes": each[None, :4], "scores": each} for each in y], vision)
    ours = xai.Engine(detector).explain(
        IMAGES, ["hires-cam", "rise:masks=8"], lambda output: torch.stack([each["scores"][2] for each in output])
    )
    theirs = xai.Engine(vision).explain(IMAGES, ["hires-cam", "rise:masks=8,score=logit"], 2)
    for one, other in zip(ours.values(), theirs.values(), strict=True):
        torch.testing.assert_close(one.raw, other.raw)
    with pytest.raises(TargetError, match=r"one floating-point number per image, \[4\]; .*float32 \[1\]"):
        xai.Engine(Wrapped(lambda y: y.mean(0, keepdim=True), vision)).explain(
            IMAGES, "hires-cam", lambda output: output[:, 2]
        )


def test_regions_and_embeddings_are_selected_like_class_scores() -> None:
    pixels, rows = torch.randn(4, 5, 6, 6), torch.randn(4, 5)
    model = Wrapped(lambda y: {"labels": y, "masks": y[:, :, None, None] * pixels, "prototypes": rows[:2]})
    region = xai.Region(1, torch.ones(6, 6))
    for target, expected in (
        (region, lambda y: y[:, 1] * pixels[:, 1].mean((1, 2))),
        (xai.Similarity(rows[0]), lambda y: torch.cosine_similarity(y, rows[:1], dim=1)),
    ):
        bound = xai.Engine(settled(model)).explain(IMAGES, "center", target)["center"].target
        assert not isinstance(bound, tuple)
        with torch.no_grad():
            output = model(IMAGES)
        torch.testing.assert_close(bound.model_score(output), expected(output["labels"]))
    two = Wrapped(lambda y: {"a": pixels, "b": pixels, "x": y, "y": y})
    for target, message in ((region, r"'a' \[4, 5, 6, 6\], 'b'"), (xai.Similarity(rows[0]), r"'x' \[4, 5\], 'y'")):
        with pytest.raises(ModelOutputError, match=f"several tensors.*{message}"):
            xai.Engine(settled(two)).explain(IMAGES, "center", target)
    wrong = Wrapped(lambda y: (pixels[:2], y[:2]))
    for target in (region, xai.Similarity(rows[0])):
        with pytest.raises(ModelOutputError, match=r"\[4, .*one row per image.*0 \[2, 5, 6, 6\], 1 \[2, 5\]"):
            xai.Engine(settled(wrong)).explain(IMAGES, "center", target)


def test_a_distilled_transformer_with_attention_in_its_output(vision: nn.Module) -> None:
    vit = settled(fused_vit(depth=2))
    output = Wrapped(lambda y: {"logits": y, "attentions": (y[:, :, None, None],) * 2}, vit)
    ours = xai.Engine(output).explain(IMAGES, ["rollout", "grad-cam"])
    for name, expected in xai.Engine(vit).explain(IMAGES, ["rollout", "grad-cam"]).items():
        torch.testing.assert_close(ours[name].raw, expected.raw)
