"""The promises of metrics."""

import copy
from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Tensor, nn

from xai_core.engine import Engine
from xai_core.errors import NoGroundTruthError
from xai_core.metric import Metric
from xai_core.plugins.registry import create_metric
from xai_core.testing.check import Check, checks_of, require
from xai_core.testing.described import require_docstring, require_name, require_spec
from xai_core.testing.metric_case import MetricCase, Watched, remade, truth
from xai_core.testing.networks import SIZE, WIDE, convolutional_network, linear_network, pictures
from xai_core.testing.trace import difference, live_bytes_of, random_state, stir, trace

ROUNDING, RELATIVE = 1e-5, 1e-4
"""How far scores may be apart that are the same but for rounding."""


def check_metric(
    metric: str | Metric | type[Metric], expected_failures: Mapping[str, str] | None = None
) -> Iterator[Check]:
    """The promises of a metric, one check each, tried on a convolutional network and on a linear one.

    Parameters
    ----------
    metric
        Its name or spec, an object, or a class that is made without options. Images have 32x32 pixels, or 32x64.
    expected_failures
        Names of checks that it cannot pass, each with the reason; with those that its class declares.
    """
    made = _made(metric)
    return checks_of(made.spec, MetricCase(made), PROMISES, {**made.expected_failures, **(expected_failures or {})})


def _made(metric: str | Metric | type[Metric]) -> Metric:
    if isinstance(metric, str):
        return create_metric(metric)
    return metric() if isinstance(metric, type) else metric


def has_a_name(case: MetricCase) -> None:
    """The name is lower case with hyphens, and the docstring's first line says what it is."""
    require_name(case.metric)
    require_docstring(type(case.metric))


def its_spec_makes_it_again(case: MetricCase) -> None:
    """Options are kept under their names, so that the spec says all that makes it again."""
    require_spec(case.metric)


def declares_its_direction(case: MetricCase) -> None:
    """`higher_is_better` is true or false on every metric object."""
    declared = getattr(case.metric, "higher_is_better", None)
    require(isinstance(declared, bool), f"say `higher_is_better = True` or `False` in the class; it is {declared!r}")


def gives_a_number_for_each_image(case: MetricCase) -> None:
    """Values are finite [B] on the images' device; a curve is [B,S], with fractions that rise from 0 to 1."""
    model = convolutional_network()
    for size in (SIZE, WIDE):
        images = pictures(size=size)
        score = case.score(model, images, case.maps(model, images))
        require(score.values.shape == (2,), f"values are {list(score.values.shape)} for two images")
        require(bool(score.values.isfinite().all()), "values hold NaN or infinity")
        require(score.values.device == images.device, f"values are on {score.values.device}, the images were not")
        if score.curve is not None and score.fractions is not None:
            require(
                len(score.fractions) > 1 and bool((score.fractions.diff() > 0).all()),
                f"the fractions of a curve rise; they are {score.fractions.tolist()}",
            )


def an_image_is_scored_alike_alone_and_among_others(case: MetricCase) -> None:
    """An image's number does not depend on its batch."""
    model, images = convolutional_network().double(), pictures(3).double()
    together = case.score(model, images, case.maps(model, images))
    masks = truth(images)
    for place in range(len(images)):
        one = images[place : place + 1]
        saliency = case.maps(model, one)
        with_truth = masks[place : place + 1] if case.metric.needs_ground_truth else None
        alone = Engine(model).evaluate(one, {"m": saliency}, case.metric, with_truth)
        [[score]] = [scores.values() for scores in alone.values()]
        require_same(score.values[0], together.values[place], f"image {place} alone and among three")


def the_block_does_not_matter(case: MetricCase) -> None:
    """However many images go through the model at once, scores are the same, and no more go through than asked."""
    model, images = convolutional_network().double(), pictures().double()
    saliency = case.maps(model, images)
    expected = case.score(model, images, saliency, block=1000)
    for block in (1, 7):
        sizes: list[int] = []
        handle = model.register_forward_pre_hook(lambda _, args, sizes=sizes: sizes.append(len(args[0])))
        given = case.score(model, images, saliency, block=block)
        handle.remove()
        require_same(given.values, expected.values, f"with blocks of {block} and of 1000")
        most = max(sizes, default=0)
        require(
            most <= max(block, len(images)),
            f"{most} images went through the model at once where the engine's block was {block}; go through "
            "`evaluation.model_score(...)`",
        )


def the_scale_of_the_map_does_not_matter(case: MetricCase) -> None:
    """A map times a positive number has the same score."""
    model, images = convolutional_network().double(), pictures().double()
    saliency = case.maps(model, images)
    expected = case.score(model, images, saliency)
    scaled = case.score(model, images, remade(saliency, saliency.raw * 1024))
    require_same(scaled.values, expected.values, "a map and 1024 times that map")


def the_same_call_gives_the_same_score(case: MetricCase) -> None:
    """Nothing is random but by a seed of its own: the process's generators do not matter, and are not moved."""
    model, images = convolutional_network(), pictures()
    saliency = case.maps(model, images)
    stir(1)
    first = case.score(model, images, saliency)
    stir(2)
    before = random_state()
    second = case.score(model, images, saliency)
    moved = [name for name, state in random_state().items() if state != before[name]]
    require(
        torch.equal(first.values, second.values),
        "two calls give other scores; draw from a torch.Generator with a seed that is an option",
    )
    require(
        not moved,
        f"the process's random numbers of {', '.join(moved)} were drawn from or seeded; use a torch.Generator of your "
        "own",
    )


def leaves_the_model_alone(case: MetricCase) -> None:
    """Weights, buffers, gradients, hooks and flags are as before, in training mode too."""
    model, images = convolutional_network().train(), pictures()
    model.get_submodule("stem").eval()
    before = trace(model)
    case.score(model, images, case.maps(model, images))
    left = difference(before, trace(model))
    require(not left, f"it changed {left}; `copy.deepcopy(evaluation.model)` may be changed")


def leaves_what_it_is_given_alone(case: MetricCase) -> None:
    """Neither the images nor the maps are written to, which other metrics of the batch are given too."""
    model, images = convolutional_network(), pictures()
    watched = Watched(case.metric)
    case.score(model, images, case.maps(model, images), watched)
    require(not watched.written, f"it writes to the {', '.join(watched.written)} that other metrics are given too")


def reads_nothing_on_the_host(case: MetricCase) -> None:
    """No value leaves the device: no `.item()`, `.cpu()`, `.tolist()`, `if tensor:`, no shape made of values."""
    model, images = convolutional_network(), pictures()
    watched = Watched(case.metric)
    case.score(model, images, case.maps(model, images), watched)
    require(not watched.reads, f"`evaluate` waits for the device: {'; '.join(watched.reads[:3])}")


def constant_maps_and_models_are_scored(case: MetricCase) -> None:
    """A map that tells no place from another has a finite score, and so has any map of a model that says one thing."""
    model, images = convolutional_network(), pictures()
    saliency = case.maps(model, images)
    flat = case.score(model, images, remade(saliency, torch.ones_like(saliency.raw)))
    require(bool(flat.values.isfinite().all()), f"a constant map scores {flat.values.tolist()}")
    constant = linear_network()
    nn.init.zeros_(constant.get_parameter("weight"))
    saliency = case.maps(constant, images)
    score = case.score(constant, images, remade(saliency, pictures(seed=7)[:, 0]))
    require(bool(score.values.isfinite().all()), f"a map of a constant model scores {score.values.tolist()}")


def models_of_any_precision_are_scored(case: MetricCase) -> None:
    """A float64 model has the scores of a float32 one, and a bfloat16 model has finite ones."""
    images = pictures()
    model = convolutional_network()
    saliency = case.maps(model, images)
    expected = case.score(model, images, saliency)
    for dtype in (torch.float64, torch.bfloat16):
        other = copy.deepcopy(model).to(dtype)
        again = remade(case.maps(other, images.to(dtype)), saliency.raw)
        given = case.score(other, images.to(dtype), again)
        require(bool(given.values.isfinite().all()), f"for a model in {dtype} it is NaN or infinite")
        if dtype == torch.float64:
            apart = (given.values - expected.values).abs().amax().item()
            require(apart <= 1e-3, f"scores of a model in float64 and in float32 differ by {apart:.2g}")


def better_maps_score_better(case: MetricCase) -> None:
    """On a linear model, what each pixel contributes scores better than the reverse; or the truth, if asked for."""
    model, images = linear_network().double(), pictures().double()
    weight = model.get_parameter("weight")
    with torch.no_grad():
        weight.zero_()
        weight[1] = 4 / images[0].numel()
    images = (
        torch.where(truth(images)[:, None], 2, -1) + 0.1 * images
    )  # an object that speaks for the class, the rest against
    best = truth(images).double() if case.metric.needs_ground_truth else (weight[1] * images).sum(1).detach()
    saliency = case.maps(model, images)
    given, reverse = (case.score(model, images, remade(saliency, raw)).values for raw in (best, -best))
    better = given > reverse if case.metric.higher_is_better else given < reverse
    what = "the truth" if case.metric.needs_ground_truth else "what each pixel contributes"
    require(
        bool(better.all()),
        f"{what} scores {given.tolist()}, and the reverse {reverse.tolist()}, though higher_is_better is "
        f"{case.metric.higher_is_better}",
    )


def ends_of_a_curve_are_those_of_every_map(case: MetricCase) -> None:
    """A curve begins with the whole image and ends with none of it, or the reverse, whatever the map."""
    model, images = convolutional_network().double(), pictures().double()
    saliency = case.maps(model, images)
    one = case.score(model, images, saliency)
    other = case.score(model, images, remade(saliency, -saliency.raw))
    if one.curve is None or other.curve is None or one.fractions is None:
        return
    for end, fraction in ((0, 0.0), (-1, 1.0)):
        if one.fractions[end].item() == fraction:
            require_same(one.curve[:, end], other.curve[:, end], f"the curves of two maps at fraction {fraction:.0f}")


def asks_for_the_truth_where_it_says_so(case: MetricCase) -> None:
    """`needs_ground_truth` is true where `evaluation.masks` is read, and only there."""
    model, images = convolutional_network(), pictures()
    saliency = case.maps(model, images)
    engine = Engine(model)
    try:
        engine.evaluate(images, {"m": saliency}, case.metric)
    except NoGroundTruthError:
        require(
            case.metric.needs_ground_truth, "it reads `evaluation.masks`: say `needs_ground_truth = True` in the class"
        )
    else:
        require(not case.metric.needs_ground_truth, "`needs_ground_truth` is true, but `evaluation.masks` is not read")


def keeps_nothing(case: MetricCase) -> None:
    """No tensor outlives the score: not in the metric, its class or its module."""
    model, images = convolutional_network(), pictures()
    saliency = case.maps(model, images)
    case.score(model, images, saliency)  # what is made once may stay
    kept = live_bytes_of(lambda: case.score(model, images, saliency))
    require(not kept, f"{kept} bytes of tensors are still there after a call whose score is not")


PROMISES: tuple[Callable[[MetricCase], None], ...] = (
    has_a_name,
    its_spec_makes_it_again,
    declares_its_direction,
    gives_a_number_for_each_image,
    an_image_is_scored_alike_alone_and_among_others,
    the_block_does_not_matter,
    the_scale_of_the_map_does_not_matter,
    the_same_call_gives_the_same_score,
    leaves_the_model_alone,
    leaves_what_it_is_given_alone,
    reads_nothing_on_the_host,
    constant_maps_and_models_are_scored,
    models_of_any_precision_are_scored,
    better_maps_score_better,
    ends_of_a_curve_are_those_of_every_map,
    asks_for_the_truth_where_it_says_so,
    keeps_nothing,
)


def require_same(given: Tensor, expected: Tensor, what: str) -> None:
    """Require scores that are the same but for rounding."""
    apart = (given - expected).abs()
    require(
        bool((apart <= ROUNDING + RELATIVE * expected.abs()).all()),
        f"{what}: scores differ by {apart.amax().item():.2g} ({given.tolist()} and {expected.tolist()})",
    )
