"""The conformance kit: it passes what keeps its promises, and for each promise there is something that it fails."""

import functools
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import xai_core as xai
from xai_core.errors import OptionError, UnknownModelError, UnsuitableError
from xai_core.plugin import Dataset, DatasetSource, Evaluation, ModelSource, Probe, ranks
from xai_core.testing import (
    Check,
    FailedCheckError,
    Outcome,
    adapters,
    check_adapter,
    check_dataset,
    check_explainer,
    check_metric,
    check_model_source,
    datasets,
    explainers,
    metrics,
    model_sources,
    parametrize_with_checks,
    run_checks,
)
from xai_core.testing.networks import convolutional_network


class GoodExplainer(xai.Explainer):
    """Gradient times activation."""

    name = "good"

    def needs(self, adapter: xai.ModelAdapter) -> xai.Needs:
        return xai.Needs(activations=(adapter.default_layer,), gradients=True)

    def explain(self, captured: xai.Captured) -> Tensor:
        return (captured.gradient() * captured.activation()).sum(1)


def explainer(explain: Callable[[xai.Captured, Tensor], Any] | None = None, **attributes: Any) -> xai.Explainer:
    """A good explainer but for what is given; `explain` is called with the map that a good one gives."""
    if explain is not None:
        good = GoodExplainer.explain
        attributes["explain"] = lambda self, captured: explain(captured, good(self, captured))
    return type("Bad", (GoodExplainer,), {"__doc__": "Bad.", **attributes})()  # type: ignore[no-any-return]


class Forgetful(GoodExplainer):
    """Forgets its option."""

    def __init__(self, power: float = 1.0) -> None:
        pass


class Otherwise(GoodExplainer):
    """Keeps its option as another value."""

    def __init__(self, power: int = 1) -> None:
        self.power = power + 1


def unsuited(self: xai.Explainer, adapter: xai.ModelAdapter) -> xai.Needs:
    raise UnsuitableError("never")


def hooked(captured: xai.Captured, given: Tensor) -> Tensor:
    captured.adapter.model.register_forward_hook(lambda *_: None)
    return given


def writes_weights(captured: xai.Captured, given: Tensor) -> Tensor:
    next(captured.adapter.model.parameters()).data += 1e-3
    return given


def own_forward(captured: xai.Captured, given: Tensor) -> Tensor:
    captured.adapter.model(captured.images)
    return given


def asks_for_attention(captured: xai.Captured, given: Tensor) -> Tensor:
    return given + len(captured.attention)


def seeds_globally(captured: xai.Captured, given: Tensor) -> Tensor:
    torch.manual_seed(0)
    return given + torch.rand(given.shape)


def draws_from_numpy(captured: xai.Captured, given: Tensor) -> Tensor:
    np.random.rand()
    return given


def depends_on_precision(captured: xai.Captured, given: Tensor) -> Tensor:
    half = next(captured.adapter.model.parameters()).dtype == torch.bfloat16
    return given.flip(1, 2) if half else given


def depends_on_requires_grad(captured: xai.Captured, given: Tensor) -> Tensor:
    asks = any(parameter.requires_grad for parameter in captured.adapter.model.parameters())
    return given if asks else given.flip(2)


def depends_on_in_place(captured: xai.Captured, given: Tensor) -> Tensor:
    writes = any(getattr(module, "inplace", False) for module in captured.adapter.model.modules())
    return given.flip(2) if writes else given


def many_forwards(captured: xai.Captured, given: Tensor) -> Tensor:
    for _ in range(3):
        captured.model_score(captured.images)
    return given


KEPT: list[Tensor] = []


def keeps(captured: xai.Captured, given: Tensor) -> Tensor:
    KEPT.append(given.clone())
    return given


class Shared(GoodExplainer):
    """Keeps what it works on in an attribute, between two steps that another thread may come between."""

    def explain(self, captured: xai.Captured) -> Tensor:
        self.at_work = super().explain(captured)
        for _ in range(20):
            captured.model_score(captured.images)
        given = self.at_work
        del self.at_work
        return given

    def forward_passes(self, adapter: xai.ModelAdapter) -> int:
        return 21


BAD_EXPLAINERS: dict[str, list[tuple[xai.Explainer, str]]] = {
    "has_valid_name": [
        (explainer(name="My CAM"), "lower case with hyphens"),
        (explainer(__doc__=None), "has no docstring"),
    ],
    "spec_round_trips": [
        (Forgetful(), "'power' must be stored"),
        (Otherwise(), "has a different spec"),
    ],
    "supports_a_model": [
        (explainer(needs=unsuited), "provide a model that the explainer supports"),
        (explainer(needs=lambda self, adapter: ["layer"]), "must return xai_core.Needs"),
    ],
    "returns_one_map_per_image": [
        (explainer(lambda captured, given: given[:, None]), "must return floating-point relevance"),
        (explainer(lambda captured, given: given[:1]), "must return floating-point relevance"),
        (explainer(lambda captured, given: given.bool()), "must return floating-point relevance"),
        (explainer(lambda captured, given: given / 0), "NaN or infinity"),
        (explainer(lambda captured, given: torch.ones_like(given)), "every map is constant"),
        (explainer(lambda captured, given: given.to("meta")), "meta"),
    ],
    "supports_non_square_images": [
        (explainer(lambda captured, given: given.mT), "is 16x8|is 8x4"),
        (explainer(lambda captured, given: given.flatten(1).unflatten(1, (4, 4))), "unflatten"),
    ],
    "batch_matches_single_images": [
        (explainer(lambda captured, given: given - given.mean(0)), "image 0 alone and in a batch"),
    ],
    "depends_on_target_as_declared": [
        (explainer(lambda captured, given: captured.activation().sum(1)), "targeted = False"),
        (explainer(targeted=False), "`targeted` is false"),
    ],
    "is_deterministic": [
        (explainer(lambda captured, given: given + torch.rand(given.shape)), "two calls differ"),
        (explainer(seeds_globally), "generators of torch"),
        (explainer(draws_from_numpy), "generators of numpy"),
        (explainer(lambda captured, given: given * (1 + random.random())), "two calls differ"),
    ],
    "leaves_model_unchanged": [
        (explainer(hooked), "hook"),
        (explainer(writes_weights), "values|weights"),
    ],
    "uses_only_declared_needs": [
        (explainer(asks_for_attention), "did not ask for attention"),
        (explainer(own_forward), "called directly"),
    ],
    "supports_frozen_parameters": [(explainer(depends_on_requires_grad), "with and without frozen")],
    "supports_bfloat16": [(explainer(depends_on_precision), "correlation of")],
    "supports_in_place_activations": [(explainer(depends_on_in_place), "with and without in-place")],
    "avoids_host_transfers": [
        (explainer(lambda captured, given: given * given.amax().item()), "test_kit.py.*local_scalar_dense"),
        (explainer(lambda captured, given: given * max(given.amax((1, 2)).tolist())), "test_kit.py.*tolist"),
        (explainer(lambda captured, given: torch.from_numpy(given.numpy())), "test_kit.py.*numpy"),
        (explainer(lambda captured, given: given.cpu()), "test_kit.py.*cpu"),
        (explainer(lambda captured, given: given if given.amax() > 0 else -given), "test_kit.py"),
        (explainer(lambda captured, given: given - given[given > 0].mean()), "test_kit.py.*index"),
    ],
    "retains_no_tensors": [(explainer(keeps), "bytes of tensors remain")],
    "is_thread_safe": [(Shared(), "at_work|with one thread and with two")],
    "declares_forward_passes": [(explainer(many_forwards), "takes 4 forward passes, but `forward_passes` returns 1")],
}


class GoodMetric(xai.Metric):
    """What is left of the score where the map is highest: half of the pixels."""

    name = "good"
    higher_is_better = True

    def evaluate(self, evaluation: Evaluation, saliency: xai.Saliency) -> xai.MetricResult:
        values = saliency.values
        kept = ranks(values) < values[0].numel() // 2
        curve = torch.stack(
            [
                evaluation.model_score(images)
                for images in (
                    torch.zeros_like(evaluation.images),
                    evaluation.images * kept[:, None],
                    evaluation.images,
                )
            ],
            1,
        )
        return xai.MetricResult(curve[:, 1], curve, torch.linspace(0, 1, 3))


def metric(
    change: Callable[[Evaluation, xai.Saliency, xai.MetricResult], Any] | None = None, **attributes: Any
) -> xai.Metric:
    """A good metric but for what is given; `change` is called with the score that a good one gives."""
    if change is not None:
        good = GoodMetric.evaluate
        attributes["evaluate"] = lambda self, evaluation, saliency: change(
            evaluation, saliency, good(self, evaluation, saliency)
        )
    return type("Bad", (GoodMetric,), {"__doc__": "Bad.", **attributes})()  # type: ignore[no-any-return]


def values(change: Callable[[Evaluation, xai.Saliency, Tensor], Tensor], **attributes: Any) -> xai.Metric:
    """A metric whose values are changed."""
    return metric(
        lambda evaluation, saliency, score: xai.MetricResult(change(evaluation, saliency, score.values)),
        **attributes,
    )


def all_at_once(evaluation: Evaluation, saliency: xai.Saliency, given: Tensor) -> Tensor:
    with torch.no_grad():
        evaluation.model.eval()(torch.cat([evaluation.images] * 9))
    return given


def block_counts(evaluation: Evaluation, saliency: xai.Saliency, given: Tensor) -> Tensor:
    return given + evaluation.model_score.block


def trains(evaluation: Evaluation, saliency: xai.Saliency, given: Tensor) -> Tensor:
    next(evaluation.model.parameters()).requires_grad_(False)
    return given


def writes_maps(evaluation: Evaluation, saliency: xai.Saliency, given: Tensor) -> Tensor:
    saliency.values.zero_()
    return given


def writes_images(evaluation: Evaluation, saliency: xai.Saliency, given: Tensor) -> Tensor:
    evaluation.images.add_(1)
    return given


def divides(evaluation: Evaluation, saliency: xai.Saliency, given: Tensor) -> Tensor:
    return given / saliency.values.amax((1, 2))


def only_float32(evaluation: Evaluation, saliency: xai.Saliency, given: Tensor) -> Tensor:
    return given + (evaluation.images.dtype == torch.float64)


def from_the_map(evaluation: Evaluation, saliency: xai.Saliency, score: xai.MetricResult) -> xai.MetricResult:
    assert score.curve is not None
    curve = score.curve.clone()
    curve[:, 0] = saliency.raw[:, 0, 0].to(curve)
    return xai.MetricResult(score.values, curve, score.fractions)


def reads_masks(evaluation: Evaluation, saliency: xai.Saliency, given: Tensor) -> Tensor:
    return given + evaluation.masks.any()


def keeps_scores(evaluation: Evaluation, saliency: xai.Saliency, given: Tensor) -> Tensor:
    KEPT.append(given.clone())
    return given


BAD_METRICS: dict[str, list[tuple[xai.Metric, str]]] = {
    "has_valid_name": [(metric(name="Mine"), "lower case"), (metric(__doc__=None), "has no docstring")],
    "spec_round_trips": [
        (type("Bad", (GoodMetric,), {"__init__": lambda self, steps=1: None})(), "'steps' must be stored")
    ],
    "declares_direction": [
        (metric(higher_is_better="up"), "`higher_is_better` must be True or False"),
    ],
    "returns_one_score_per_image": [
        (values(lambda evaluation, saliency, given: given.mean()), "must be one number per image"),
        (values(lambda evaluation, saliency, given: given / 0), "NaN or infinite"),
        (
            metric(lambda evaluation, saliency, score: xai.MetricResult(score.values, score.curve, torch.ones(3))),
            "must be strictly increasing",
        ),
        (
            metric(lambda evaluation, saliency, score: xai.MetricResult(score.values, score.curve, torch.ones(2))),
            "must give a curve",
        ),
    ],
    "batch_matches_single_images": [
        (values(lambda evaluation, saliency, given: given / given.abs().amax()), "alone and in a batch of three")
    ],
    "is_independent_of_block_size": [
        (values(block_counts), "with block sizes of 1 and 1000"),
        (values(all_at_once), "had 18 images"),
    ],
    "is_invariant_to_map_scale": [
        (values(lambda evaluation, saliency, given: given + saliency.raw.amax((1, 2))), "the map times 1024")
    ],
    "is_deterministic": [
        (values(lambda evaluation, saliency, given: given + torch.rand(1)), "different scores"),
    ],
    "leaves_model_unchanged": [(values(trains), "requires_grad")],
    "leaves_inputs_unchanged": [
        (values(writes_maps), "writes to the values"),
        (values(writes_images), "writes to the images"),
    ],
    "avoids_host_transfers": [
        (values(lambda evaluation, saliency, given: given * float(given.amax())), "from the device to the host")
    ],
    "scores_constant_maps_and_models": [(values(divides), "NaN or infinite")],
    "supports_all_precisions": [(values(only_float32), "in float64 and in float32 differ")],
    "better_map_scores_better": [
        (values(lambda evaluation, saliency, given: -given), "the exact contribution of each pixel"),
        (
            values(
                lambda evaluation, saliency, given: -(saliency.values * evaluation.masks).sum((1, 2)),
                needs_ground_truth=True,
            ),
            "the ground-truth mask scores",
        ),
    ],
    "curve_ends_do_not_depend_on_map": [(metric(from_the_map), "at fraction 0")],
    "declares_use_of_ground_truth": [
        (values(reads_masks), "set `needs_ground_truth = True`"),
        (metric(needs_ground_truth=True), "does not read"),
    ],
    "retains_no_tensors": [(values(keeps_scores), "bytes of tensors remain")],
}


class Wrapping(nn.Module):
    """A network whose scores are inside a dictionary of dictionaries, which no built-in adapter reads."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = convolutional_network(inplace=False)

    def forward(self, images: Tensor) -> dict[str, dict[str, Tensor]]:
        return {"heads": {"classes": self.inner(images)}}


class GoodAdapter(xai.ModelAdapter):
    """For networks that wrap their scores."""

    @classmethod
    def suits(cls, model: nn.Module, probe: Probe) -> bool:
        return isinstance(model, Wrapping)

    @property
    def default_layer(self) -> str:
        return "inner.last"

    def scores(self, output: Any) -> Tensor:
        return output["heads"]["classes"]


def adapter(**attributes: Any) -> type[xai.ModelAdapter]:
    return type("Bad", (GoodAdapter,), {"__doc__": "Bad.", **attributes})


def always(given: object) -> Any:
    return classmethod(lambda cls, model, probe: given)


def gone(*_: Any) -> Any:
    raise LookupError("nothing")


BAD_ADAPTERS: dict[str, list[tuple[type[xai.ModelAdapter], str]]] = {
    "has_docstring": [(adapter(__doc__=None), "has no docstring")],
    "supports_its_model": [(adapter(suits=always(False)), "is False"), (adapter(suits=always(1)), "is 1")],
    "rejects_other_models": [(adapter(suits=always(True)), "which a built-in adapter supports")],
    "default_layer_is_valid": [(adapter(default_layer="nowhere"), "must be the name of a module")],
    "spatial_is_channels_first": [
        (adapter(spatial=lambda self, tensor, layer: tensor.flatten(2)), r"must return \[B,K,h,w\]")
    ],
    "substitute_inverts_spatial": [
        (adapter(substitute=lambda self, tensor, maps, layer: tensor), "must return `maps` unchanged"),
        (adapter(substitute=lambda self, tensor, maps, layer: maps + 1), "must return a tensor equal to"),
    ],
    "scores_returns_class_scores": [
        (adapter(scores=lambda self, output: output["heads"]["classes"][0]), "`scores` must return"),
        (adapter(scores=lambda self, output: output), "`scores` must return"),
    ],
    "readout_is_valid": [(adapter(readout=3), "must be a slice")],
    "engine_explains_its_model": [(adapter(scores=gone), "nothing")],
}


class GoodModels(ModelSource):
    """Small networks."""

    name = "good"

    def names(self) -> Sequence[str]:
        return ["small", "smaller"]

    def load(self, name: str | None, **options: Any) -> xai.LoadedModel:
        if name not in self.names():
            raise UnknownModelError(f"no model {name!r}")
        return xai.LoadedModel(convolutional_network(), preprocess, list("abcde"), lambda images: images + 0.5)


def preprocess(image: Image.Image | Tensor) -> Tensor:
    if isinstance(image, Image.Image):
        image = torch.from_numpy(np.asarray(image.convert("RGB")).copy()).permute(2, 0, 1) / 255
    return nn.functional.interpolate(image[None], (32, 32), mode="bilinear")[0] - 0.5


def source(change: Callable[[xai.LoadedModel], Any] | None = None, **attributes: Any) -> ModelSource:
    if change is not None:
        good = GoodModels.load
        attributes["load"] = lambda self, name, **options: change(good(self, name, **options))
    return type("Bad", (GoodModels,), {"__doc__": "Bad.", **attributes})()  # type: ignore[no-any-return]


def loaded(**changes: Any) -> ModelSource:
    return source(
        lambda given: xai.LoadedModel(
            **{"model": given.model, "preprocess": given.preprocess, "class_names": given.class_names, **changes}
        )
    )


def any_name(self: ModelSource, name: str | None, **options: Any) -> xai.LoadedModel:
    return GoodModels().load("small")


def nan_output() -> nn.Module:
    model = convolutional_network()
    nn.init.zeros_(model.get_parameter("last.1.weight"))
    model.get_buffer("last.1.running_var").fill_(torch.nan)
    return model


BAD_SOURCES: dict[str, list[tuple[ModelSource, str]]] = {
    "has_valid_name": [(source(name="My Models"), "lower case")],
    "lists_model_names": [
        (source(names=lambda self: ["small", "small"]), "more than once"),
        (source(names=lambda self: ["small", 3]), "nonempty strings"),
    ],
    "returns_model_in_eval_mode": [
        (source(lambda given: given.model), "must return an xai_core.LoadedModel"),
        (loaded(model=convolutional_network().train()), "is in training mode"),
        (loaded(model="a path"), "must be a torch.nn.Module"),
    ],
    "preprocesses_any_image": [
        (loaded(preprocess=lambda image: preprocess(image)[None]), "must return a floating-point"),
        (loaded(preprocess=lambda image: preprocess(image) / 0), "NaN or infinity"),
        (loaded(preprocess=lambda image: torch.rand(3, *image.size)), "must return one shape for all images"),
        (loaded(preprocess=lambda image: preprocess(image)[:, : 32 - 8 * isinstance(image, Tensor)]), "for a tensor"),
    ],
    "preprocesses_pil_and_tensor_alike": [
        (loaded(preprocess=lambda image: preprocess(image) * (1 + isinstance(image, Tensor))), "differ by")
    ],
    "restore_inverts_normalization": [
        (loaded(restore=lambda images: images * 255), r"must return colors in \[0,1\]"),
        (loaded(restore=lambda images: images[0] + 0.5), "must return the shape"),
    ],
    "class_names_match_scores": [(loaded(class_names=["a"]), "1 class names for 5 class scores")],
    "can_be_explained": [(loaded(model=nan_output()), "NaN")],
    "rejects_unknown_models": [
        (source(load=any_name), "it returns a model"),
        (source(load=lambda self, name, **options: {"small": 1}[name]), "it raises KeyError"),
    ],
}


class GoodData:
    """Three images, with masks and boxes."""

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> xai.Sample:
        if not 0 <= index < 3:
            raise IndexError(index)
        mask = torch.zeros(8, 12, dtype=torch.bool)
        mask[2:4, 1 : 3 + index] = True
        image = torch.rand(3, 8, 12, generator=torch.Generator().manual_seed(index))
        box = torch.tensor([[1.0, 2.0, 3.0 + index, 4.0]])
        return xai.Sample(image, f"{index}", index, mask, box, mask[None])


class GoodSource(DatasetSource):
    """Opens them."""

    name = "good"

    def load(self, name: str | None, **options: Any) -> Dataset:
        return GoodData()


class Changed(GoodData):
    """Data whose samples are changed by a function of the sample."""

    def __init__(self, change: Callable[[xai.Sample], Any]) -> None:
        self.change = change

    def __getitem__(self, index: int) -> xai.Sample:
        return self.change(super().__getitem__(index))


def having(**changes: Any) -> Dataset:
    return Changed(functools.partial(replaced, changes=changes))


def replaced(sample: xai.Sample, changes: dict[str, Any]) -> xai.Sample:
    from dataclasses import replace

    return replace(sample, **changes)


class Counting(GoodData):
    """Gives other images each time."""

    def __getitem__(self, index: int) -> xai.Sample:
        return replaced(super().__getitem__(index), {"image": torch.rand(3, 8, 12)})


class Wrapping3(GoodData):
    """Begins again at its end."""

    def __getitem__(self, index: int) -> xai.Sample:
        return super().__getitem__(index % 3)


class Empty(GoodData):
    """Holds nothing."""

    def __len__(self) -> int:
        return 0


class Keyed(GoodData):
    """Ends with a KeyError."""

    def __getitem__(self, index: int) -> xai.Sample:
        return {i: GoodData()[i] for i in range(3)}[index]


class BadSource(GoodSource):
    """Has no proper name."""

    name = "Good data"


BAD_DATA: dict[str, list[tuple[Any, str]]] = {
    "has_valid_name": [(BadSource, "lower case")],
    "contains_samples": [
        (Empty(), "dataset is empty"),
        (Changed(lambda sample: sample.image), "must be an xai_core.Sample|no attribute"),
    ],
    "raises_index_error_at_end": [(Wrapping3(), "it returns a sample"), (Keyed(), "it raises KeyError")],
    "sample_ids_are_unique": [(having(id="one"), "more than one sample"), (having(id=3), "must be a nonempty string")],
    "images_are_valid": [
        (having(image=torch.rand(3, 8, 12) * 255), r"must be in \[0,1\]"),
        (having(image=torch.rand(1, 3, 8, 12)), "must be a PIL image"),
    ],
    "targets_are_class_ids": [
        (having(target="cat"), "must be a nonnegative int"),
        (having(target=-1), "must be a nonnegative int"),
        (having(target=True), "must be a nonnegative int"),
    ],
    "masks_match_their_image": [
        (having(mask=torch.ones(12, 8, dtype=torch.bool)), r"must be bool \[8, 12\]"),
        (having(mask=torch.ones(8, 12)), "must be bool"),
        (having(mask=torch.zeros(8, 12, dtype=torch.bool)), "is empty"),
        (having(distractors=torch.zeros(8, 12, dtype=torch.bool)), "distractors"),
    ],
    "boxes_lie_within_image": [
        (having(boxes=torch.tensor([[1.0, 2.0, 30.0, 4.0]])), "must have left < right"),
        (having(boxes=torch.tensor([[1, 2, 3, 4]])), "floating-point"),
    ],
    "is_deterministic": [(Counting(), "returned a different one")],
    "can_be_pickled": [(Changed(lambda sample: sample), "cannot be pickled")],
}

KINDS: dict[str, tuple[Callable[[Any], Iterator[Check]], Any, dict[str, Any], tuple[Callable[[Any], None], ...]]] = {
    "explainer": (check_explainer, GoodExplainer, BAD_EXPLAINERS, explainers.CHECKS),
    "metric": (check_metric, GoodMetric, BAD_METRICS, metrics.CHECKS),
    "adapter": (
        lambda made_by: check_adapter(made_by, Wrapping().eval()),
        GoodAdapter,
        BAD_ADAPTERS,
        adapters.CHECKS,
    ),
    "model source": (check_model_source, GoodModels, BAD_SOURCES, model_sources.CHECKS),
    "data": (check_dataset, GoodSource, BAD_DATA, datasets.CHECKS),
}


@pytest.mark.parametrize("kind", KINDS)
def test_what_keeps_its_promises_passes(kind: str) -> None:
    check, good, _, _ = KINDS[kind]
    results = list(run_checks(check(good)))
    assert [(result.check.name, result.message) for result in results if result.outcome != Outcome.passed] == []


@pytest.mark.parametrize("kind", KINDS)
def test_for_every_promise_something_breaks_it(kind: str) -> None:
    _, _, bad, promises = KINDS[kind]
    assert list(bad) == [promise.__name__ for promise in promises]
    assert all(bad.values())


@pytest.mark.parametrize(
    ("kind", "name", "subject", "reason"),
    [
        pytest.param(kind, name, subject, reason, id=f"{kind}-{name}-{place}")
        for kind, (_, _, bad, _) in KINDS.items()
        for name, some in bad.items()
        for place, (subject, reason) in enumerate(some)
    ],
)
def test_a_broken_promise_is_found(kind: str, name: str, subject: Any, reason: str) -> None:
    [check] = [one for one in KINDS[kind][0](subject) if one.name == name]
    with pytest.raises(Exception, match=f"(?s){reason}") as raised:
        check()
    [result] = run_checks([check])
    assert result.outcome == Outcome.failed
    assert str(raised.value) in result.message
    assert not result.ok


def test_expected_failures_need_a_reason_and_a_check() -> None:
    with pytest.raises(OptionError, match="has no reason"):
        check_explainer(GoodExplainer, expected_failures={"retains_no_tensors": " "})
    with pytest.raises(OptionError, match="did you mean 'retains_no_tensors'"):
        check_explainer(GoodExplainer, expected_failures={"retain_no_tensors": "it does"})


def test_what_is_expected_to_fail_must() -> None:
    declared = {"has_valid_name": "none is good enough"}
    for subject, outcome in (
        (explainer(name="My CAM"), Outcome.expected_failure),
        (GoodExplainer(), Outcome.unexpected_pass),
    ):
        result = next(run_checks(check_explainer(subject, expected_failures=declared)))
        assert (result.outcome, result.ok) == (outcome, outcome == Outcome.expected_failure)
        assert "none is good enough" in result.message
    in_class = explainer(name="My CAM", expected_failures=declared)
    assert next(run_checks(check_explainer(in_class))).outcome == Outcome.expected_failure


def test_checks_say_what_they_are() -> None:
    for check, good, _, _ in KINDS.values():
        for one in check(good):
            assert one.description.endswith(".")
            assert str(one).endswith(f": {one.name}")


def test_checks_are_cases_of_a_test(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import xai_core as xai
        from xai_core.testing import check_metric, parametrize_with_checks

        class Mine(xai.Metric):
            name = "mine"
            higher_is_better = True

            def evaluate(self, evaluation, saliency):
                return xai.MetricResult(saliency.values.mean((1, 2)))

        declared = {"better_map_scores_better": "it is not about faithfulness", "retains_no_tensors": "it passes"}

        @parametrize_with_checks(check_metric(Mine, expected_failures=declared))
        def test_promises(check):
            check()
        """
    )
    ran = pytester.runpytest("-q", "-p", "no:cacheprovider", "-p", "no:xdist")
    outcomes = ran.parseoutcomes()
    assert outcomes == {"passed": len(metrics.CHECKS) - 3, "xfailed": 1, "failed": 2}
    ran.stdout.fnmatch_lines(["*FAILED*mine-has_valid_name*", "*FAILED*mine-retains_no_tensors*"])


def test_a_failure_is_an_assertion() -> None:
    assert issubclass(FailedCheckError, AssertionError)
    assert parametrize_with_checks().name == "parametrize"
