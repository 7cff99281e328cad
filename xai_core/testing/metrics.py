"""Conformance checks of metrics."""

import copy
from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Tensor, nn

from xai_core.errors import NoGroundTruthError
from xai_core.metric import Metric
from xai_core.plugins.creation import create_metric
from xai_core.testing.check import Check, build_checks, require, single_threaded
from xai_core.testing.class_metadata import require_docstring, require_name, require_spec
from xai_core.testing.metric_case import MetricCase, ground_truth, with_relevance
from xai_core.testing.metric_side_effects import (
    avoids_host_transfers,
    is_deterministic,
    leaves_inputs_unchanged,
    leaves_model_unchanged,
    retains_no_tensors,
)
from xai_core.testing.networks import SIZE, WIDE, convolutional_network, linear_network, random_images

ROUNDING, RELATIVE = 1e-5, 1e-4
"""Absolute and relative tolerance between scores that are equal up to rounding."""
PRECISION = 1e-3
"""Largest accepted difference between the scores of a float64 model and of a float32 model."""


def check_metric(
    metric: str | Metric | type[Metric], expected_failures: Mapping[str, str] | None = None
) -> Iterator[Check]:
    """Return the conformance checks of a metric. They use a small CNN and a linear model.

    Parameters
    ----------
    metric
        A name or spec, an object, or a class without required options. It must support images of 32x32 and 32x64
        pixels.
    expected_failures
        Checks that the metric cannot pass: a dict from the name of each check to the reason. It extends the class
        attribute `expected_failures`.
    """
    tested = _as_metric(metric)
    case, functions = MetricCase(tested), [single_threaded(check) for check in CHECKS]
    return build_checks(tested.spec, case, functions, {**tested.expected_failures, **(expected_failures or {})})


def _as_metric(metric: str | Metric | type[Metric]) -> Metric:
    if isinstance(metric, str):
        return create_metric(metric)
    return metric() if isinstance(metric, type) else metric


def has_valid_name(case: MetricCase) -> None:
    """The name is lower case with hyphens, and the class has a docstring of its own."""
    require_name(case.metric)
    require_docstring(type(case.metric))


def spec_round_trips(case: MetricCase) -> None:
    """Each option is stored in an attribute of the same name, so that the spec recreates the object."""
    require_spec(case.metric)


def declares_direction(case: MetricCase) -> None:
    """`higher_is_better` of the metric object is True or False."""
    declared = getattr(case.metric, "higher_is_better", None)
    require(
        isinstance(declared, bool), f"`higher_is_better` must be True or False, set in the class; it is {declared!r}"
    )


def returns_one_score_per_image(case: MetricCase) -> None:
    """Scores are finite, [B], on the device of the images. A curve is [B,S], with increasing fractions [S]."""
    model = convolutional_network()
    for size in (SIZE, WIDE):
        images = random_images(size=size)
        result = case.score(model, images, case.maps(model, images))
        require(result.values.shape == (2,), f"for two images `values` must be [2]; it is {list(result.values.shape)}")
        require(bool(result.values.isfinite().all()), "`values` contains NaN or infinity")
        require(
            result.values.device == images.device,
            f"`values` is on {result.values.device}; expected the device of the images, {images.device}",
        )
        if result.curve is not None and result.fractions is not None:
            require(
                len(result.fractions) > 1 and bool((result.fractions.diff() > 0).all()),
                f"the fractions of a curve must be strictly increasing; they are {result.fractions.tolist()}",
            )


def batch_matches_single_images(case: MetricCase) -> None:
    """The score of an image does not depend on the other images in the batch."""
    model, images = convolutional_network().double(), random_images(3).double()
    batch = case.score(model, images, case.maps(model, images))
    masks = ground_truth(images)
    for index in range(len(images)):
        image = images[index : index + 1]
        saliency = case.maps(model, image)
        mask = masks[index : index + 1] if case.metric.needs_ground_truth else None
        results = case.engine(model).evaluate(image, {"map": saliency}, case.metric, mask)
        [[single]] = [by_metric.values() for by_metric in results.values()]
        _require_same(single.values[0], batch.values[index], f"image {index} alone and in a batch of three")


def is_independent_of_block_size(case: MetricCase) -> None:
    """Scores do not depend on the block size. No forward pass contains more images than a block or a batch."""
    model, images = convolutional_network().double(), random_images().double()
    saliency = case.maps(model, images)
    expected = case.score(model, images, saliency, block=1000)
    for block in (1, 7):
        sizes: list[int] = []
        handle = model.register_forward_pre_hook(lambda _, args, sizes=sizes: sizes.append(len(args[0])))
        result = case.score(model, images, saliency, block=block)
        handle.remove()
        _require_same(result.values, expected.values, f"with block sizes of {block} and 1000")
        largest = max(sizes, default=0)
        require(
            largest <= max(block, len(images)),
            f"a forward pass contained {largest} images; expected at most the block size of {block}: score images with "
            "`evaluation.model_score(...)`",
        )


def is_invariant_to_map_scale(case: MetricCase) -> None:
    """The score of a map does not change if the map is multiplied by a positive number."""
    model, images = convolutional_network().double(), random_images().double()
    saliency = case.maps(model, images)
    expected = case.score(model, images, saliency)
    scaled = case.score(model, images, with_relevance(saliency, saliency.raw * 1024))
    _require_same(scaled.values, expected.values, "a map and the map times 1024")


def scores_constant_maps_and_models(case: MetricCase) -> None:
    """The score of a constant map is finite, and so is the score of any map of a model with constant output."""
    model, images = convolutional_network(), random_images()
    saliency = case.maps(model, images)
    constant_map = case.score(model, images, with_relevance(saliency, torch.ones_like(saliency.raw)))
    values = constant_map.values
    require(bool(values.isfinite().all()), f"the score of a constant map must be finite; it is {values.tolist()}")
    constant_model = linear_network()
    nn.init.zeros_(constant_model.get_parameter("weight"))
    saliency = case.maps(constant_model, images)
    values = case.score(constant_model, images, with_relevance(saliency, random_images(seed=7)[:, 0])).values
    require(
        bool(values.isfinite().all()),
        f"the score of a map of a model with constant output must be finite; it is {values.tolist()}",
    )


def supports_all_precisions(case: MetricCase) -> None:
    """A float64 model and a float32 model have the same scores, and a bfloat16 model has finite scores."""
    images = random_images()
    model = convolutional_network()
    saliency = case.maps(model, images)
    expected = case.score(model, images, saliency)
    for dtype in (torch.float64, torch.bfloat16):
        converted = copy.deepcopy(model).to(dtype)
        maps = with_relevance(case.maps(converted, images.to(dtype)), saliency.raw)
        values = case.score(converted, images.to(dtype), maps).values
        require(bool(values.isfinite().all()), f"for a model in {dtype} the score is NaN or infinite")
        if dtype == torch.float64:
            difference = (values - expected.values).abs().amax().item()
            require(
                difference <= PRECISION,
                f"scores of a model in float64 and in float32 differ by {difference:.2g}; expected at most {PRECISION}",
            )


def better_map_scores_better(case: MetricCase) -> None:
    """For a linear model, the exact contribution of each pixel scores better than its negative.

    If the metric needs ground truth, the ground-truth mask scores better than its negative.
    """
    model, images = linear_network().double(), random_images().double()
    weight = model.get_parameter("weight")
    with torch.no_grad():
        weight.zero_()
        weight[1] = 4 / images[0].numel()
    # pixels of the object contribute positively to class 1, all other pixels negatively
    images = torch.where(ground_truth(images)[:, None], 2, -1) + 0.1 * images
    best = ground_truth(images).double() if case.metric.needs_ground_truth else (weight[1] * images).sum(1).detach()
    saliency = case.maps(model, images)
    scores, negative = (case.score(model, images, with_relevance(saliency, raw)).values for raw in (best, -best))
    better = scores > negative if case.metric.higher_is_better else scores < negative
    what = "the ground-truth mask" if case.metric.needs_ground_truth else "the exact contribution of each pixel"
    require(
        bool(better.all()),
        f"{what} must score better than its negative, with higher_is_better={case.metric.higher_is_better}; "
        f"the scores are {scores.tolist()}, and {negative.tolist()} for the negative",
    )


def curve_ends_do_not_depend_on_map(case: MetricCase) -> None:
    """The two ends of a perturbation curve, no pixel replaced and all pixels replaced, are equal for all maps."""
    model, images = convolutional_network().double(), random_images().double()
    saliency = case.maps(model, images)
    result = case.score(model, images, saliency)
    negative = case.score(model, images, with_relevance(saliency, -saliency.raw))
    if result.curve is None or negative.curve is None or result.fractions is None:
        return
    for end, fraction in ((0, 0.0), (-1, 1.0)):
        if result.fractions[end].item() == fraction:
            what = f"the curves of two maps at fraction {fraction:.0f}"
            _require_same(result.curve[:, end], negative.curve[:, end], what)


def declares_use_of_ground_truth(case: MetricCase) -> None:
    """`needs_ground_truth` is True if and only if `evaluate` reads `evaluation.masks`."""
    model, images = convolutional_network(), random_images()
    saliency = case.maps(model, images)
    engine = case.engine(model)
    try:
        engine.evaluate(images, {"map": saliency}, case.metric)
    except NoGroundTruthError:
        require(
            case.metric.needs_ground_truth,
            "`evaluate` reads `evaluation.masks`; set `needs_ground_truth = True` in the class",
        )
    else:
        require(
            not case.metric.needs_ground_truth,
            "`needs_ground_truth` is True, but `evaluate` does not read `evaluation.masks`; set it to False",
        )


CHECKS: tuple[Callable[[MetricCase], None], ...] = (
    has_valid_name,
    spec_round_trips,
    declares_direction,
    returns_one_score_per_image,
    batch_matches_single_images,
    is_independent_of_block_size,
    is_invariant_to_map_scale,
    is_deterministic,
    leaves_model_unchanged,
    leaves_inputs_unchanged,
    avoids_host_transfers,
    scores_constant_maps_and_models,
    supports_all_precisions,
    better_map_scores_better,
    curve_ends_do_not_depend_on_map,
    declares_use_of_ground_truth,
    retains_no_tensors,
)


def _require_same(values: Tensor, expected: Tensor, what: str) -> None:
    """Require scores that are equal up to rounding."""
    difference = (values - expected).abs()
    require(
        bool((difference <= ROUNDING + RELATIVE * expected.abs()).all()),
        f"{what}: scores differ by {difference.amax().item():.2g} ({values.tolist()} and {expected.tolist()})",
    )
