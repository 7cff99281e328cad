"""One shared pass: one forward pass and at most one backward pass for all explainers."""

import contextlib
import itertools
from collections.abc import Callable, Mapping, Set
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from xai_core.capture.backward_pass import block_gradients, target_gradients
from xai_core.capture.gradient_errors import gradient_errors, not_connected, without_gradients
from xai_core.capture.needs import NeedsUnion
from xai_core.capture.pass_record import LayerLeaf, Leaf, PassRecord, PassTargets
from xai_core.capture.pass_recorder import PassRecorder
from xai_core.errors import LayerError
from xai_core.model.attention_call import require_same_calls
from xai_core.model.attention_paths import AttentionPaths
from xai_core.model.attention_reader import AttentionReader
from xai_core.model.execution import Forward, explaining, substituting, temporary_hooks
from xai_core.model.gates import Gate, Gated, GateReader
from xai_core.model.process_settings import unfused_attention
from xai_core.model.sites import Site, split_call
from xai_core.model.user_forward import batch_indices
from xai_core.outputs import detached
from xai_core.targets.target import BoundTarget

SiteOf = Callable[[str], Site]
"""Function from a layer name to the tensor that it refers to."""
Bind = Callable[[Any], tuple[list[BoundTarget], bool]]
"""Function that binds the targets to a model output. It returns them, and whether the user passed T ids per image."""


def capture(
    model: nn.Module,
    forward: Forward,
    images: Float[Tensor, "B C *size"],
    needs: NeedsUnion,
    site: SiteOf,
    attention: AttentionPaths,
    bind: Bind,
) -> PassRecord:
    """Run the model once, differentiate at most once for all targets, and record what the explainers need.

    Parameters
    ----------
    model
        The module that contains the layers in `needs`.
    forward
        Calls the model.
    images
        The batch.
    needs
        The union of what the explainers need.
    site
        Returns the site of a layer in `needs`.
    attention
        The attention of a forward pass of the model.
    bind
        Binds the targets to the model's output.

    Raises
    ------
    LayerError
        If a layer did not run or returned no tensor.
    UnsuitableError
        If the model runs different attention layers for this batch than for one image.
    NotConnectedError
        If the score does not depend on a tensor whose gradient is needed.
    NoGradientError
        If PyTorch cannot compute a gradient.
    """

    def run(needs: NeedsUnion, grad_from_start: bool = False) -> tuple[PassRecord, list[Leaf]]:
        return _run(model, forward, images, site, bind, PassRecorder(needs, attention, grad_from_start))

    with gradient_errors(lambda: run(without_gradients(needs))):
        record, missing = run(needs)
        if missing:
            # A `no_grad` block that ends after a layer cuts the graph, unless gradients are enabled throughout.
            record, missing = run(needs, grad_from_start=True)
    if missing:
        raise not_connected(missing)
    return record


def _run(
    model: nn.Module, forward: Forward, images: Tensor, site: SiteOf, bind: Bind, recorder: PassRecorder
) -> tuple[PassRecord, list[Leaf]]:
    """Return the record of one pass, and the tensors whose gradient is needed but does not exist."""
    needs = recorder.needs
    output, gates = _forward(model, forward, images, site, recorder)
    with torch.inference_mode(False), torch.set_grad_enabled(bool(recorder.differentiated or needs.block_scores)):
        targets = _bind(bind, output, needs)
        own, unconnected = block_gradients(model, forward, images, recorder, targets.all)
        wanted = recorder.differentiated
        if not needs.attention_gradients:
            wanted = wanted - recorder.attention_leaves
        gradients, curvatures = target_gradients(recorder, wanted, targets.all, output)
    record = PassRecord(
        images=images,
        output=detached(output),
        targets=targets,
        activations={name: recorder.tensors[LayerLeaf(name)].detach() for name in needs.activations},
        gradients=gradients,
        curvatures=curvatures,
        attention=recorder.attention,
        gates=gates,
        block_gradients=own,
    )
    return record, sorted((wanted - gradients.keys()) | recorder.cut | unconnected, key=str)


def _forward(
    model: nn.Module, forward: Forward, images: Tensor, site: SiteOf, recorder: PassRecorder
) -> tuple[Any, dict[Gate, Gated]]:
    """Run the forward pass, and return the model's output and the operands of the gates."""
    needs, modules = recorder.needs, dict(model.named_modules())
    blocks = {block.layer: block for blocks in needs.block_scores for block in blocks}
    hooks: dict[nn.Module, Callable[..., Any]] = {}
    for layer, sites in itertools.groupby(sorted(needs.activations), lambda name: split_call(name)[0]):
        hooks[modules[layer]] = _recording(recorder, {name: site(name) for name in sites})
    track = recorder.on_attention_output if recorder.tracks_attention else None
    gates = GateReader(needs.gates)
    layouts = recorder.paths.layouts(len(images)) if needs.attention else ()
    with contextlib.ExitStack() as contexts:
        contexts.enter_context(explaining(model, recorder.grad_from_start))
        for name, block in blocks.items():
            record = partial(recorder.on_block, name)
            contexts.enter_context(substituting(modules[name], block.is_input, record, block.call))
        contexts.enter_context(temporary_hooks(after=hooks))
        if needs.attention:
            contexts.enter_context(AttentionReader(len(images), recorder.on_attention, track, layouts))
        if needs.gates:
            contexts.enter_context(gates)
        if needs.curvatures:
            contexts.enter_context(unfused_attention())
        output = forward(model, recorder.on_images(images), batch_indices(images))
    if needs.attention:
        require_same_calls(recorder.calls, recorder.attention, is_complete=True)
    _require_recorded(
        recorder, blocks.keys() - recorder.blocks.keys() - recorder.pooled.keys(), needs.gates - gates.found.keys()
    )
    return output, gates.found


def _recording(recorder: PassRecorder, sites: Mapping[str, Site]) -> Callable[..., Any]:
    """Return a hook of one module that records sites in its calls, by layer name."""
    calls = itertools.count()

    def after(module: nn.Module, args: Any, output: Any) -> Any:
        call = next(calls)
        for name, site in sites.items():
            if site.call == call:
                output = recorder.on_layer(name, site, output)
        return output

    return after


def _require_recorded(recorder: PassRecorder, missing_blocks: Set[str], missing_gates: Set[Gate]) -> None:
    absent = [name for name in recorder.needs.activations if LayerLeaf(name) not in recorder.tensors]
    absent += sorted(missing_blocks)
    if absent:
        raise LayerError(f"layer {absent[0]!r} did not run in this model's forward pass; choose a layer that runs")
    for gate in missing_gates:
        raise LayerError(
            f"the attention module in {gate.layer!r} ran differently on this batch than on the single probe image; "
            "choose another layer"
        )


def _bind(bind: Bind, output: Any, needs: NeedsUnion) -> PassTargets:
    """Bind the requested targets, and append the rival classes of each."""
    requested, several = bind(output)
    targets, rivals = [*requested], []
    for target in requested:
        indices = {}
        for which in needs.rivals:
            others = target.rivals(output, which)
            indices[which] = range(len(targets), len(targets) + len(others))
            targets += others
        rivals.append(indices)
    return PassTargets(targets, len(requested), several, rivals)
