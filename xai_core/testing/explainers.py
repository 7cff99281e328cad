"""Conformance checks of explainers."""

from collections.abc import Callable, Iterator, Mapping

import torch
from torch import nn

from xai_core.capture.needs import Needs
from xai_core.errors import UnsuitableError
from xai_core.explainer import Explainer
from xai_core.testing.check import Check, build_checks, require, single_threaded
from xai_core.testing.class_metadata import require_docstring, require_name, require_spec
from xai_core.testing.explainer_case import (
    ROUNDING,
    ExplainerCase,
    RelevanceRecorder,
    as_explainer,
    largest_difference,
    require_same,
)
from xai_core.testing.explainer_side_effects import (
    avoids_host_transfers,
    is_deterministic,
    is_thread_safe,
    leaves_inputs_unchanged,
    leaves_model_unchanged,
    retains_no_tensors,
    uses_only_declared_needs,
)
from xai_core.testing.networks import WIDE, convolutional_network, random_images
from xai_core.testing.probed_networks import probed_engine

MIN_CORRELATION = 0.9
"""Smallest accepted correlation between a map of a bfloat16 model and the map of the float64 model."""


def check_explainer(
    explainer: str | Explainer | type[Explainer],
    models: Mapping[str, nn.Module] | None = None,
    expected_failures: Mapping[str, str] | None = None,
) -> Iterator[Check]:
    """Return the conformance checks of an explainer.

    Parameters
    ----------
    explainer
        A name or spec, an object, or a class without required options.
    models
        Models of images [B,3,32,32] and [B,3,32,64], by the name that messages use. Models that the explainer does
        not support are skipped. Default: a small CNN with attention modules and a small vision transformer, both with
        random weights. An explainer that supports neither is tested on a transformer with class attention and
        on a detector.
    expected_failures
        Checks that the explainer cannot pass: a dict from the name of each check to the reason. It extends the class
        attribute `expected_failures`.
    """
    tested = as_explainer(explainer)
    case = ExplainerCase(tested, dict(models) if models is not None else None)
    functions = [single_threaded(check) for check in CHECKS]
    return build_checks(tested.spec, case, functions, {**tested.expected_failures, **(expected_failures or {})})


def has_valid_name(case: ExplainerCase) -> None:
    """The name is lower case with hyphens, and the class has a docstring of its own."""
    require_name(case.explainer)
    require_docstring(type(case.explainer))


def spec_round_trips(case: ExplainerCase) -> None:
    """Each option is stored in an attribute of the same name, so that the spec recreates the object."""
    require_spec(case.explainer)


def supports_a_model(case: ExplainerCase) -> None:
    """`needs` returns Needs for at least one tested model, and raises UnsuitableError for unsupported models."""
    case.require_models()
    for label, model in case.models.items():
        needs = case.explainer.needs(case.engine(label, model).adapter(random_images()))
        require(isinstance(needs, Needs), f"`needs` must return xai_core.Needs(...); for {label} it returned {needs!r}")


def returns_one_map_per_image(case: ExplainerCase) -> None:
    """Relevance is finite, floating-point, [B,h,w], on the device of the images. At least one map is not constant."""
    any_varies = False
    for label, model in case.each():
        recorder = RelevanceRecorder(case.explainer)
        saliency = ExplainerCase(recorder).explain(case.engine(label, model), random_images())
        [relevance] = recorder.recorded
        device = random_images().device
        require(relevance.device == device, f"for {label} the map is on {relevance.device}; expected {device}")
        require(bool(saliency.raw.isfinite().all()), f"for {label} the map contains NaN or infinity")
        any_varies |= not bool(saliency.constant.all())
    require(any_varies, "every map is constant, for every tested model; expected values that differ between locations")


def supports_non_square_images(case: ExplainerCase) -> None:
    """The maps of images of 32x64 pixels (height x width) are wider than high."""
    for label, model in case.each():
        saliency = case.explain(case.engine(label, model), random_images(size=WIDE))
        height, width = saliency.raw.shape[-2:]
        require(
            width > height,
            f"for {label} and images of 32x64 pixels (height x width) the map must be wider than high; it is "
            f"{height}x{width}",
        )


def batch_matches_single_images(case: ExplainerCase) -> None:
    """The map of an image does not depend on the other images in the batch."""
    images = random_images().double()
    for label, model in case.each():
        batch, engine = case.reference(label), case.engine(label, model.double())
        for index in range(len(images)):
            single = case.explain(engine, images[index : index + 1])
            require_same(single.values[0], batch.values[index], f"for {label}, image {index} alone and in a batch")


def depends_on_target_as_declared(case: ExplainerCase) -> None:
    """The maps of two classes differ, or are equal if the class sets `targeted = False`."""
    difference = 0.0
    for label, model in case.each():
        other = case.explain(case.engine(label, model.double()), random_images().double(), target=3)
        difference = max(difference, largest_difference(other.values, case.reference(label).values))
    if case.explainer.targeted:
        require(
            difference > ROUNDING,
            "the maps of classes 1 and 3 are equal; if the method does not depend on the target, set "
            "`targeted = False` in the class: maps are then computed once for all targets",
        )
    else:
        require(
            difference <= ROUNDING,
            f"`targeted` is false, but the maps of classes 1 and 3 differ by {difference:.1g}; set `targeted = True`",
        )


def supports_frozen_parameters(case: ExplainerCase) -> None:
    """A model whose parameters have `requires_grad=False` has the same maps."""
    for label, model in case.each():
        frozen = case.explain(case.engine(label, model.double().requires_grad_(False)), random_images().double())
        require_same(frozen.values, case.reference(label).values, f"for {label}, with and without frozen parameters")


def supports_bfloat16(case: ExplainerCase) -> None:
    """A bfloat16 model has finite maps, with a correlation of at least 0.9 with the maps of the float64 model."""
    for label, model in case.each():
        half = case.explain(case.engine(label, model.bfloat16()), random_images())
        require(bool(half.raw.isfinite().all()), f"for {label} in bfloat16 the map contains NaN or infinity")
        pairs = torch.stack([half.values.flatten(1), case.reference(label).values.flatten(1)], 1)
        correlation = min(pair.corrcoef()[0, 1].nan_to_num(nan=1).item() for pair in pairs)
        require(
            correlation >= MIN_CORRELATION,
            f"for {label}, the maps in bfloat16 and in float64 have a correlation of {correlation:.2f}; expected at "
            f"least {MIN_CORRELATION}",
        )


def supports_in_place_activations(case: ExplainerCase) -> None:
    """A model with in-place activations has the same maps as the model without them."""
    for inplace in (True, False):
        model, images = convolutional_network(inplace).double(), random_images().double()
        engine = probed_engine(f"a convolutional network, inplace={inplace}", model)
        try:
            case.explainer.needs(engine.adapter(images))
        except UnsuitableError:
            return
        saliency = case.explain(engine, images)
        if inplace:
            in_place = saliency
        else:
            require_same(saliency.values, in_place.values, "with and without in-place activations")


def declares_forward_passes(case: ExplainerCase) -> None:
    """An image takes at most twice as many forward passes as `forward_passes` returns."""
    for label, model in case.each():
        engine, images = case.engine(label, model), random_images(1)
        declared = case.explainer.forward_passes(engine.adapter(images))
        counts: list[int] = []
        handle = model.register_forward_pre_hook(
            lambda _, args, counts=counts: counts.append(
                0 if args[0].is_meta else len(args[0])
            )  # a partial forward pass begins with meta tensors
        )
        case.explain(engine, images)
        handle.remove()
        require(
            sum(counts) <= 2 * declared,
            f"for {label}, an image takes {sum(counts)} forward passes, but `forward_passes` returns {declared}; "
            "return the approximate number, because users and `xai demo` rely on it",
        )


CHECKS: tuple[Callable[[ExplainerCase], None], ...] = (
    has_valid_name,
    spec_round_trips,
    supports_a_model,
    returns_one_map_per_image,
    supports_non_square_images,
    batch_matches_single_images,
    depends_on_target_as_declared,
    is_deterministic,
    leaves_model_unchanged,
    leaves_inputs_unchanged,
    uses_only_declared_needs,
    supports_frozen_parameters,
    supports_bfloat16,
    supports_in_place_activations,
    avoids_host_transfers,
    retains_no_tensors,
    is_thread_safe,
    declares_forward_passes,
)
