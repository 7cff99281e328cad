"""One forward pass of one image in which module calls, attention and gates are recorded."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from xai_core.model.attention_trace import AttentionTrace
from xai_core.model.determinism import require_deterministic
from xai_core.model.execution import Forward, explaining, temporary_hooks
from xai_core.model.gates import GateFinder
from xai_core.model.module_calls import ModuleCalls
from xai_core.model.probabilities import probabilities_in
from xai_core.model.site_graph import SiteGraph
from xai_core.model.user_forward import batch_indices
from xai_core.outputs import leaf_at, scores_of
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
        The target, which tells what in the output counts as the scores.
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
        self.attentions, self.gates = trace.attentions, tuple(finder.gates)


def observer(
    model: nn.Module, forward: Forward, image: Tensor, target: object, gradients: bool, always_gradients: bool
) -> Callable[[], ObservedPass]:
    """Return a function that observes a random image with the mean and the standard deviation of an image.

    The function does not keep the image.
    """
    shape, like = image.shape, image.new_empty(0)
    spread, mean = (float(value) for value in torch.std_mean(image.float()))
    memory_format = torch.contiguous_format if image.is_contiguous() else torch.channels_last

    def observe() -> ObservedPass:
        noise = torch.randn(shape, generator=torch.Generator().manual_seed(0))
        drawn = (mean + (spread or 1.0) * noise).to(like).contiguous(memory_format=memory_format)
        return ObservedPass(model, forward, drawn, target, gradients, always_gradients)

    return observe
