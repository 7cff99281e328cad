"""One forward pass of one image in which module calls, attention and gates are recorded."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from jaxtyping import Float
from torch import Tensor, nn

from xai_core.detection.formats import DetectionReader
from xai_core.detection.recognition import detection_format
from xai_core.model.attention import AttentionLayer
from xai_core.model.attention_reader import AttentionReader
from xai_core.model.attention_trace import AttentionTrace, TracedAttention
from xai_core.model.determinism import require_deterministic
from xai_core.model.execution import Forward, explaining, temporary_hooks
from xai_core.model.gates import Gate, GateFinder
from xai_core.model.module_calls import ModuleCalls
from xai_core.model.probabilities import probabilities_in
from xai_core.model.site_graph import SiteGraph
from xai_core.model.user_forward import batch_indices
from xai_core.outputs import leaf_at, scores_of, tensors_of
from xai_core.targets.score_reader import ScoreLocation
from xai_core.targets.selection import PIXEL_SCORES
from xai_core.targets.target import read_by

NO_CLASSES = (
    "this model is a detector, whose output has no class scores; to explain a detection, pass no target or "
    "`target=Box(box, label)`, with a box and a label that `Engine.detect` lists; otherwise, pass a callable "
    "as `target=`, or pass `forward=` to the Engine, a function that returns one row of scores per image"
)
"""Message for targets and functions that need class scores."""


@dataclass(frozen=True)
class ObservedPass:
    """A forward pass of one image with a graph, if gradients are enabled.

    Attributes
    ----------
    calls, attentions, gates
        The module calls, the attention layers, and the gates between the image and the scores.
    location
        The location of the class scores in the model's output.
    class_scores
        The class scores, or None.
    pixel_scores
        The part of the output with scores of the classes for each pixel that the target reads, or None.
    scores
        The scores that the target reads, or None.
    graph
        The graph between the image and the scores. Its path is empty without gradients.
    detection_scores
        The scores of detections, if the target reads these, or None.
    detections
        Reads the detections in outputs, or None if the model is not a detector whose output is recognized.
    """

    calls: ModuleCalls
    attentions: Sequence[TracedAttention]
    gates: tuple[Gate, ...]
    location: ScoreLocation
    class_scores: Tensor | None
    pixel_scores: Tensor | None
    scores: Tensor | None
    graph: SiteGraph
    detection_scores: Tensor | None
    detections: DetectionReader | None


@dataclass(frozen=True)
class Observer:
    """Observes forward passes of a model.

    Parameters
    ----------
    model
        The model.
    forward
        Calls the model.
    target
        The target, which determines which part of the output contains the scores.
    gradients
        Whether gradients are enabled.
    always_gradients
        Whether they are also enabled inside of `no_grad` blocks.
    """

    model: nn.Module
    forward: Forward
    target: object
    gradients: bool = True
    always_gradients: bool = False

    def observe(self, image: Float[Tensor, "1 C *size"]) -> ObservedPass:
        """Run the model on one image, and record the pass."""
        model, calls = self.model, ModuleCalls(self.model, tuple(image.shape), self.always_gradients)
        finder = GateFinder(tuple(image.shape[2:]), calls.innermost)
        trace = AttentionTrace(calls.in_progress, calls.attend)
        modules = [*model.modules()]
        with explaining(model, self.gradients):
            graph_image = image.clone().requires_grad_(self.gradients).clone()
            with (
                temporary_hooks(dict.fromkeys(modules, calls.enter), dict.fromkeys(modules, calls.leave)),
                trace,
                finder,
            ):
                output = self.forward(model, graph_image, batch_indices(graph_image))
            require_deterministic(model, self.forward, image, output)
            location = ScoreLocation.of(output, probabilities_in(output, graph_image))
            scores = read_by(self.target, output)
            size = image.shape[-2], image.shape[-1]
            detected = detection_format(output, model, size)
            detection_scores = None
            if detected is not None and location.path is None:
                location = replace(location, reason=NO_CLASSES)
                if scores is None:
                    scores = detection_scores = detected.scores(output)
        class_scores = scores_of(output) if location.path is None else leaf_at(output, location.path)
        pixel_scores = scores if scores is not None and PIXEL_SCORES.fits(scores) else None
        scores = class_scores if scores is None else scores
        graph = SiteGraph(calls.tensors, calls.edges, [] if scores is None else [scores], graph_image, calls.inputs)
        if pixel_scores is None:
            pixel_scores = next((leaf for leaf in tensors_of(output) if _per_pixel(leaf, class_scores, graph)), None)
        return ObservedPass(
            calls=calls,
            attentions=trace.attentions,
            gates=tuple(
                gate
                for gate, node in zip(finder.gates, finder.nodes, strict=True)
                if not graph.path or graph.connects([node])
            ),
            location=location,
            class_scores=class_scores,
            pixel_scores=pixel_scores,
            scores=scores,
            graph=graph,
            detection_scores=detection_scores,
            detections=None if detected is None else DetectionReader(detected, size),
        )

    def first_rows(self, images: Float[Tensor, "B C *size"]) -> list[Float[Tensor, "*leading keys"] | None]:
        """Return the first row of each attention for a batch, with the leading dimensions.

        It is None if the function that computes attention separates the heads itself.
        """
        rows: list[Tensor | None] = []

        def keep(layer: AttentionLayer) -> None:
            rows.append(None if layer.leading is None else layer.rows(0, 1).reshape(*layer.leading, -1))

        with explaining(self.model, gradients=False), AttentionReader(len(images), keep):
            self.forward(self.model, images, batch_indices(images))
        return rows


def _per_pixel(tensor: Tensor, class_scores: Tensor | None, graph: SiteGraph) -> bool:
    """Return whether a tensor contains scores of the classes for each pixel that the target reads."""
    return (
        class_scores is not None
        and class_scores.ndim == tensor.ndim
        and PIXEL_SCORES.fits(tensor)
        and class_scores.shape[1] == tensor.shape[1]
        and graph.reads(tensor)
    )
