"""The promises of explainers."""

import contextlib
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from xai_core.capture.needs import Needs
from xai_core.engine import Engine
from xai_core.errors import ConstantMapWarning, NotCapturedError, UnsuitableError
from xai_core.explainer import Explainer
from xai_core.testing.check import Check, checks_of, require
from xai_core.testing.described import require_docstring, require_name, require_spec
from xai_core.testing.explainer_case import (
    ROUNDING,
    DeliberateError,
    ExplainerCase,
    Failing,
    Keeping,
    Watched,
    apart,
    made_of,
    require_same,
)
from xai_core.testing.networks import WIDE, convolutional_network, pictures
from xai_core.testing.trace import difference, live_bytes_of, random_state, stir, trace

ALIKE = 0.9
"""The least correlation of a map in half precision with that in single precision."""


def check_explainer(
    explainer: str | Explainer | type[Explainer],
    models: Mapping[str, nn.Module] | None = None,
    expected_failures: Mapping[str, str] | None = None,
) -> Iterator[Check]:
    """The promises of an explainer, one check each.

    Parameters
    ----------
    explainer
        Its name or spec, an object, or a class that is made without options.
    models
        Models of images [B,3,32,32] and [B,3,32,64], by what they are called in messages; those that it suits are used.
        Default: a small convolutional network with gates and a small vision transformer, both random.
    expected_failures
        Names of checks that it cannot pass, each with the reason; with those that its class declares.
    """
    made = made_of(explainer)
    case = ExplainerCase(made, dict(models) if models is not None else None)
    return checks_of(made.spec, case, PROMISES, {**made.expected_failures, **(expected_failures or {})})


def has_a_name(case: ExplainerCase) -> None:
    """The name is lower case with hyphens, and the docstring's first line says what it is."""
    require_name(case.explainer)
    require_docstring(type(case.explainer))


def its_spec_makes_it_again(case: ExplainerCase) -> None:
    """Options are kept under their names, so that the spec says all that makes it again."""
    require_spec(case.explainer)


def suits_a_model(case: ExplainerCase) -> None:
    """Needs gives a Needs for some model, and raises UnsuitableError for those that the method is not defined for."""
    case.require_models()
    for called, model in case.models.items():
        given = case.explainer.needs(Engine(model).adapter(pictures()))
        require(isinstance(given, Needs), f"`needs` must return xai_core.Needs(...); for {called} it gave {given!r}")


def gives_a_map_for_each_image(case: ExplainerCase) -> None:
    """The relevance is a finite floating-point [B,h,w] on the images' device, and tells places apart somewhere."""
    told_apart = False
    for called, model in case.each():
        given = Keeping(case.explainer)
        saliency = ExplainerCase(given).explain(model, pictures())
        [made] = given.made
        require(made.device == pictures().device, f"for {called} the map is on {made.device}, the images were not")
        require(bool(saliency.raw.isfinite().all()), f"for {called} the map holds NaN or infinity")
        told_apart |= not bool(saliency.constant.all())
    require(told_apart, "every map is constant: it tells no place from another, on any model")


def takes_images_that_are_not_square(case: ExplainerCase) -> None:
    """Images of 32x64 pixels give maps that are wide, with rows first."""
    for called, model in case.each():
        saliency = case.explain(model, pictures(size=WIDE))
        height, width = saliency.raw.shape[-2:]
        require(width > height, f"for {called} and images of 32 rows and 64 columns the map is {height} by {width}")


def a_batch_is_its_single_images(case: ExplainerCase) -> None:
    """An image's map does not depend on the other images of its batch."""
    images = pictures().double()
    for called, model in case.each():
        together = case.expected(called)
        for place in range(len(images)):
            alone = case.explain(model.double(), images[place : place + 1])
            require_same(alone.values[0], together.values[place], f"for {called}, image {place} alone and in a batch")


def the_target_decides(case: ExplainerCase) -> None:
    """Another target has another map; or, where the class says `targeted = False`, the same one."""
    differs = 0.0
    for called, model in case.each():
        other = case.explain(model.double(), pictures().double(), target=3)
        differs = max(differs, apart(other.values, case.expected(called).values))
    if case.explainer.targeted:
        require(
            differs > ROUNDING,
            "the maps of classes 1 and 3 are the same; where that is the method, say `targeted = False` in the class, "
            "and maps are made once for all targets",
        )
    else:
        require(differs <= ROUNDING, f"the maps of classes 1 and 3 differ by {differs:.1g}, but `targeted` is false")


def the_same_call_gives_the_same_map(case: ExplainerCase) -> None:
    """Nothing is random but by a seed of its own: the process's generators do not matter, and are not moved."""
    for called, model in case.each():
        stir(1)
        first = case.explain(model, pictures())
        stir(2)
        before = random_state()
        second = case.explain(model, pictures())
        moved = [name for name, state in random_state().items() if state != before[name]]
        require(
            torch.equal(first.raw, second.raw),
            f"for {called}, two calls differ by {apart(first.values, second.values):.1g}; draw from a torch.Generator "
            "with a seed that is an option",
        )
        require(
            not moved,
            f"for {called}, the process's random numbers of {', '.join(moved)} were drawn from or seeded; use a "
            "torch.Generator of your own",
        )


def leaves_the_model_alone(case: ExplainerCase) -> None:
    """Weights, buffers, gradients, hooks and flags are as before, in training mode too, and after an exception."""
    for called, model in case.each():
        model.train()
        next(model.children()).eval()
        before = trace(model)
        case.explain(model, pictures())
        left = difference(before, trace(model))
        require(not left, f"for {called}, it changed {left}")
        for call in (1, 2, 3):
            handle = list(model.modules())[-1].register_forward_hook(Failing(call))
            with contextlib.suppress(DeliberateError):
                case.explain(model, pictures())
            handle.remove()
            left = difference(before, trace(model))
            require(not left, f"for {called}, after an exception inside the model, it left changed {left}")


def uses_what_it_declared(case: ExplainerCase) -> None:
    """Only what `needs` declared is asked of the pass, and the model runs through `Captured` alone."""
    for called, model in case.each():
        entered = threading.local()

        def through(model: nn.Module, images: Tensor, entered: Any = entered) -> Any:
            entered.depth = getattr(entered, "depth", 0) + 1
            try:
                return model(images)
            finally:
                entered.depth -= 1

        past: list[str] = []

        def look(*_: Any, entered: Any = entered, past: list[str] = past) -> None:
            if not getattr(entered, "depth", 0):
                past.append("the model")

        handle = model.register_forward_pre_hook(look)
        try:
            case.explain(model, pictures(), forward=through)
        except NotCapturedError as error:
            require(False, f"for {called}: {error}")
        finally:
            handle.remove()
        require(
            not past,
            f"for {called}, the model was called {len(past)} times past the engine; score images by "
            "`captured.model_score(images)`, which keeps to the memory budget, the user's `forward=` and evaluation mode",
        )


def frozen_parameters_change_nothing(case: ExplainerCase) -> None:
    """A model whose parameters ask for no gradient has the same maps."""
    for called, model in case.each():
        frozen = case.explain(model.double().requires_grad_(False), pictures().double())
        require_same(frozen.values, case.expected(called).values, f"for {called}, frozen and not")


def half_precision_is_alike(case: ExplainerCase) -> None:
    """A bfloat16 model has finite maps that correlate with those in float32."""
    for called, model in case.each():
        half = case.explain(model.bfloat16(), pictures())
        require(bool(half.raw.isfinite().all()), f"for {called} in bfloat16 the map holds NaN or infinity")
        both = torch.stack([half.values.flatten(1), case.expected(called).values.flatten(1)], 1)
        least = min(pair.corrcoef()[0, 1].nan_to_num(nan=1).item() for pair in both)
        require(least >= ALIKE, f"for {called} in bfloat16 the map correlates with that in float64 by {least:.2f} only")


def writing_in_place_changes_nothing(case: ExplainerCase) -> None:
    """A model whose activations write over their input has the maps of one whose do not."""
    for inplace in (True, False):
        model = convolutional_network(inplace).double()
        try:
            case.explainer.needs(Engine(model).adapter(pictures().double()))
        except UnsuitableError:
            return
        given = case.explain(model, pictures().double())
        if inplace:
            expected = given
        else:
            require_same(given.values, expected.values, "with activations in place and not")


def reads_nothing_on_the_host(case: ExplainerCase) -> None:
    """No value leaves the device: no `.item()`, `.cpu()`, `.tolist()`, `if tensor:`, no shape made of values."""
    for called, model in case.each():
        watched = Watched(case.explainer)
        ExplainerCase(watched).explain(model, pictures())
        require(not watched.reads, f"for {called}, `explain` waits for the device: {'; '.join(watched.reads[:3])}")


def keeps_nothing(case: ExplainerCase) -> None:
    """No tensor outlives the map: not in the explainer, its class or its module."""
    for called, model in case.each():
        case.explain(model, pictures())  # what is made once may stay
        kept = live_bytes_of(partial(case.explain, model, pictures()))
        require(not kept, f"for {called}, {kept} bytes of tensors are still there after a call whose map is not")


def threads_do_not_meet(case: ExplainerCase) -> None:
    """Two threads on one model and one explainer get what each would alone."""
    batches = [pictures(seed=seed).double() for seed in (1, 5)]
    for called, model in case.each():
        work = partial(case.explain, model.double())
        expected = [work(images) for images in batches]
        with ThreadPoolExecutor(2) as pool:
            given = list(pool.map(work, batches * 3))
        for place, saliency in enumerate(given):
            require_same(saliency.values, expected[place % 2].values, f"for {called}, alone and beside another thread")


def says_what_it_costs(case: ExplainerCase) -> None:
    """`forward_passes` says how many forwards an image takes, within a factor of two."""
    for called, model in case.each():
        engine = Engine(model)
        images = pictures(1)
        said = case.explainer.forward_passes(engine.adapter(images))
        seen: list[int] = []
        handle = model.register_forward_pre_hook(
            lambda _, args, seen=seen: seen.append(
                0 if args[0].is_meta else len(args[0])
            )  # a replay begins without values
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConstantMapWarning)
            engine.explain(images, [case.explainer], 1)
        handle.remove()
        require(
            sum(seen) <= 2 * said,
            f"for {called}, an image takes {sum(seen)} forwards, and `forward_passes` says {said}, by which plans are made",
        )


PROMISES: tuple[Callable[[ExplainerCase], None], ...] = (
    has_a_name,
    its_spec_makes_it_again,
    suits_a_model,
    gives_a_map_for_each_image,
    takes_images_that_are_not_square,
    a_batch_is_its_single_images,
    the_target_decides,
    the_same_call_gives_the_same_map,
    leaves_the_model_alone,
    uses_what_it_declared,
    frozen_parameters_change_nothing,
    half_precision_is_alike,
    writing_in_place_changes_nothing,
    reads_nothing_on_the_host,
    keeps_nothing,
    threads_do_not_meet,
    says_what_it_costs,
)
