"""One forward pass of one image in which module calls, attention and gates are recorded."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from xai_core.model.attention import AttentionLayer
from xai_core.model.attention_reader import AttentionReader
from xai_core.model.attention_trace import AttentionTrace
from xai_core.model.determinism import require_deterministic
from xai_core.model.execution import Forward, explaining, temporary_hooks
from xai_core.model.gates import GateFinder
from xai_core.model.module_calls import ModuleCalls
from xai_core.model.probabilities import probabilities_in
from xai_core.model.site_graph import SiteGraph
from xai_core.model.user_forward import batch_indices
from xai_core.outputs import leaf_at, scores_of, tensors_of
from xai_core.targets.score_reader import ScoreLocation
from xai_core.targets.target import read_by


class ObservedPass:
    """A forward pass of one image with a graph, if gradients are enabled.

    Parameters
    ----------
    model
        The model.
    forward
        Calls the model.
    image
        [1,C,H,W].
    target
        The target, which determines which part of the output contains the scores.
    gradients
        Whether gradients are enabled.
    always_gradients
        Whether they are also enabled inside of `no_grad` blocks.

    Attributes
    ----------
    calls, attentions, gates
        The module calls, the attention layers and the gates.
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
    """

    def __init__(
        self,
        model: nn.Module,
        forward: Forward,
        image: Tensor,
        target: object,
        gradients: bool,
        always_gradients: bool,
    ) -> None:
        self.calls = calls = ModuleCalls(model, always_gradients)
        finder = GateFinder((image.shape[-2], image.shape[-1]), calls.innermost)
        trace = AttentionTrace(calls.in_progress, calls.attend)
        modules = [*model.modules()]
        with explaining(model, gradients):
            graph_image = image.clone().requires_grad_(gradients).clone()
            with (
                temporary_hooks(dict.fromkeys(modules, calls.enter), dict.fromkeys(modules, calls.leave)),
                trace,
                finder,
            ):
                output = forward(model, graph_image, batch_indices(graph_image))
            require_deterministic(model, forward, image, output)
            self.location = ScoreLocation.of(output, probabilities_in(output, graph_image))
            scores = read_by(target, output)
        self.class_scores = scores_of(output) if self.location.path is None else leaf_at(output, self.location.path)
        self.scores = scores = self.class_scores if scores is None else scores
        self.graph = SiteGraph(calls.tensors, [] if scores is None else [scores], graph_image, calls.inputs)
        self.pixel_scores = next((leaf for leaf in tensors_of(output) if self._are_pixel_scores(leaf)), None)
        self.attentions, self.gates = trace.attentions, tuple(finder.gates)

    def _are_pixel_scores(self, tensor: Tensor) -> bool:
        classes = self.class_scores
        return (
            classes is not None
            and classes.ndim == tensor.ndim == 4
            and classes.shape[1] == tensor.shape[1]
            and self.graph.reads(tensor)
        )


class Observer:
    """Runs a model on random images with the mean and the standard deviation of an image. The image is not kept."""

    def __init__(
        self,
        model: nn.Module,
        forward: Forward,
        image: Tensor,
        target: object,
        gradients: bool,
        always_gradients: bool,
    ) -> None:
        self._model, self._forward, self._target = model, forward, target
        self._gradients, self._always_gradients = gradients, always_gradients
        self._shape, self._like = image.shape[1:], image.new_empty(0)
        self._format = torch.contiguous_format if image.is_contiguous() else torch.channels_last
        self._spread, self._mean = (float(value) for value in torch.std_mean(image.float()))

    def observe(self) -> ObservedPass:
        """Observe one image."""
        return ObservedPass(
            self._model, self._forward, self._images(1), self._target, self._gradients, self._always_gradients
        )

    def first_rows(self, count: int) -> list[Float[Tensor, "*leading keys"] | None]:
        """Return the first row of each attention for the first `count` of two images, with the leading dimensions.

        It is None if the function that computes attention separates the heads itself.
        """
        rows: list[Tensor | None] = []

        def keep(layer: AttentionLayer) -> None:
            rows.append(None if layer.leading is None else layer.rows(0, 1).reshape(*layer.leading, -1))

        images = self._images(count)
        with explaining(self._model, gradients=False), AttentionReader(count, keep):
            self._forward(self._model, images, batch_indices(images))
        return rows

    def _images(self, count: int) -> Tensor:
        noise = torch.randn((2, *self._shape), generator=torch.Generator().manual_seed(0))[:count]
        return (self._mean + (self._spread or 1.0) * noise).to(self._like).contiguous(memory_format=self._format)
