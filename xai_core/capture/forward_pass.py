"""One forward and at most one backward for all explainers together, without a trace left on the model.

The forward runs without a graph up to the
earliest captured layer; there the hook hands on a clone of a detached leaf and switches gradients on, so
that frozen parameters, in-place activations and `.grad` never matter.
"""

import contextlib
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from xai_core.capture.block_scores import Formed, own_gradients
from xai_core.capture.derivatives import derivatives
from xai_core.capture.needs import NeedsUnion, Rivals
from xai_core.capture.partial_forward import PartialForward
from xai_core.errors import LayerError, NotConnectedError
from xai_core.model.attention import AttentionLayer, AttentionReader
from xai_core.model.execution import Forward, explaining, listening, substituting, unfused_attention
from xai_core.model.gates import Gate, Gated, GateReader
from xai_core.model.layouts import Features
from xai_core.outputs import detached, first_tensor, with_first_tensor
from xai_core.targets.target import BoundTarget


@dataclass(frozen=True, eq=False)
class PassRecord:
    """What one pass gave for V targets: T of each image, and after them the rivals of each of those T.

    Rivals are numbers among the V, by what was asked for. Layer outputs, gradients [V,...] and Hessians times
    activations [V,...] are by name, attention is by order, and the gradients at what it gave are by `ATTENTION`;
    those of layers' own scores are by the blocks that were asked for, each with the number of its attention.
    """

    images: Float[Tensor, "B C H W"]
    output: Any
    targets: Sequence[BoundTarget]
    rivals: Sequence[Mapping[Rivals, Sequence[int]]]
    activations: Mapping[str, Tensor]
    gradients: Mapping[str, Tensor]
    curvatures: Mapping[str, Tensor]
    attention: Sequence[AttentionLayer]
    gates: Mapping[Gate, Gated]
    own_gradients: Mapping[tuple[Features, ...], Sequence[tuple[int, Tensor]]]
    shared: dict[Hashable, Any]


Bind = Callable[[Any], Sequence[BoundTarget]]
"""Makes the T targets of an output."""
IMAGES = "<images>"
ATTENTION = "<attention {}>"


def capture(
    model: nn.Module, forward: Forward, images: Float[Tensor, "B C H W"], plan: NeedsUnion, bind: Bind
) -> PassRecord:
    """Run the model once, and backward at most once for all targets, and keep what the plan says.

    Parameters
    ----------
    model
        The module whose submodules the plan names.

    Raises
    ------
    LayerError
        Where a layer did not run or gave no tensor.
    NotConnectedError
        Where the score does not depend on a layer whose gradient is wanted.
    """
    record, missing = _pass(model, forward, images, plan, bind, grad_from_start=False)
    if missing:
        # A `no_grad` block inside the model that ends after a layer cut the graph: keep one all along.
        record, missing = _pass(model, forward, images, plan, bind, grad_from_start=True)
    if missing:
        raise NotConnectedError(
            f"the target's score does not depend on {missing}: the layer is not on the way to it, or the model "
            "cuts the graph (no_grad, detach) after it; choose another layer"
        )
    return record


def _pass(
    model: nn.Module,
    forward: Forward,
    images: Tensor,
    plan: NeedsUnion,
    bind: Bind,
    grad_from_start: bool,
) -> tuple[PassRecord, list[str]]:
    taken: dict[str, Tensor] = {}
    formed: dict[str, Formed] = {}
    seen: list[AttentionLayer] = []
    attended: set[str] = set()
    cut: set[str] = set()
    grad_from_start |= plan.image_gradient
    wanted = set(plan.gradients | ({IMAGES} if plan.image_gradient else set()))

    def take(name: str, output: Any) -> Any:
        tensor = first_tensor(output)
        if tensor is None:
            raise LayerError(f"layer {name!r} gives {type(output).__name__}, which holds no tensor")
        if name not in wanted:
            taken[name] = tensor.detach().clone()
            return None
        started = any(other in taken for other in wanted)
        if started and not torch.is_grad_enabled() and not grad_from_start:
            cut.add(name)
        if tensor.requires_grad and started:
            taken[name] = tensor
        else:
            taken[name] = tensor.detach().clone().requires_grad_()
        torch.set_grad_enabled(True)
        return with_first_tensor(output, taken[name].clone())

    def track(given: Any) -> Any:
        name = ATTENTION.format(len(seen) - 1)
        attended.add(name)
        wanted.add(name)
        return take(name, given)

    def form(name: str, output: Any) -> Any:
        tensor, number = first_tensor(output), len(seen) - 1
        if tensor is None or number < 0:
            raise LayerError(f"layer {name!r} is no block with attention that gives tokens")
        formed[name] = Formed(tensor, taken[ATTENTION.format(number)], number)
        return with_first_tensor(output, tensor.clone())  # the rest may write to it

    modules = dict(model.named_modules())
    blocks = {block.layer: block.given for blocks in plan.block_scores for block in blocks}
    hooks = {modules[name]: lambda module, args, output, name=name: take(name, output) for name in plan.activations}
    tracking = track if plan.attention_gradients or plan.block_scores else None
    reader = AttentionReader(len(images), seen.append, tracking) if plan.attention else contextlib.nullcontext()
    gates = GateReader(plan.gates)
    gating = gates if plan.gates else contextlib.nullcontext()
    unfused = unfused_attention() if plan.curvatures else contextlib.nullcontext()
    with contextlib.ExitStack() as entered:
        entered.enter_context(explaining(model, grad_from_start))
        for name, given in blocks.items():
            entered.enter_context(substituting(modules[name], given, partial(form, name)))
        for context in (listening(after=hooks), reader, gating, unfused):
            entered.enter_context(context)
        if plan.image_gradient:
            taken[IMAGES] = images.detach().clone().requires_grad_()
            output = forward(model, taken[IMAGES].clone())
        else:
            output = forward(model, images)
    absent = [name for name in plan.activations if name not in taken] + [*blocks.keys() - formed.keys()]
    if absent:
        raise LayerError(f"layer {absent[0]!r} did not run in this model's forward; choose one that does")
    different = next((gate.layer for gate in plan.gates - gates.found.keys()), None)
    if different is not None:
        raise LayerError(f"the gate in {different!r} did not run as it did for one image; choose another layer")

    gradients: dict[str, Tensor] = {}
    curvatures: dict[str, Tensor] = {}
    own: dict[tuple[Features, ...], list[tuple[int, Tensor]]] = {}
    unformed: set[str] = set()
    with torch.inference_mode(False), torch.set_grad_enabled(bool(wanted)):
        targets = list(bind(output))
        rivals: list[dict[Rivals, Sequence[int]]] = []
        for target in targets[:]:
            rivals.append({})
            for which in plan.rivals:
                others = target.rivals(output, which)
                rivals[-1][which] = range(len(targets), len(targets) + len(others))
                targets += others
        for asked in plan.block_scores:
            after = PartialForward(model, forward, modules[asked[-1].layer], images, given=asked[-1].given)
            across = 1 if asked[-1].layout == "LNC" else 0
            found = own_gradients([formed[block.layer] for block in asked], after, targets, across)
            own[asked] = [(number, gradient) for number, gradient in found if gradient is not None]
            unformed |= {ATTENTION.format(number) for number, gradient in found if gradient is None}
        if not plan.attention_gradients:
            wanted -= attended
        if wanted:
            scores = torch.stack([target.model_score(output) for target in targets])  # [V,B]
            if scores.requires_grad:
                leaves = {name: taken[name] for name in sorted(wanted)}
                gradients, curvatures = derivatives(scores, leaves, plan.curvatures)
    if grad_from_start and attended & gradients.keys():
        aside = attended - gradients.keys()  # attention that the score does not depend on
        gradients |= {name: taken[name].detach().new_zeros((len(targets), *taken[name].shape)) for name in aside}
    activations = {name: taken[name].detach() for name in plan.activations}
    record = PassRecord(
        images, detached(output), targets, rivals, activations, gradients, curvatures, seen, gates.found, own, {}
    )
    return record, sorted(wanted - gradients.keys() | cut | unformed)
