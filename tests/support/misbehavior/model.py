"""Plugins that change the model."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

import xai_core as xai
from support.misbehavior.case import BadExplainer, BadMetric, Kind, Misbehavior
from xai_core.errors import SideEffectError

Deed = Callable[[nn.Module], Any]
"""Changes a `GatedCNN`."""


def zero_output(module: nn.Module, args: Any, output: Any) -> Any:
    return output * 0


def _ignore(*_: Any) -> None:
    pass


def _backward(model: nn.Module) -> None:
    with torch.enable_grad():
        model.eval()(torch.ones(1, 3, 32, 32)).sum().backward()


def _add_module(model: nn.Module) -> None:
    model.extra = nn.Linear(1, 1)


def _remove_module(model: nn.Module) -> None:
    del model.last[3]  # type: ignore[operator, union-attr, index]


def _replace_parameter(model: nn.Module) -> None:
    head: Any = model.head
    head.bias = nn.Parameter(torch.zeros_like(head.bias))


def _patch_forward(model: nn.Module) -> None:
    model.stem.forward = lambda x: x


def _clear_hooks(model: nn.Module) -> None:
    model.body._forward_hooks = OrderedDict([(-1, zero_output)])  # type: ignore[union-attr, assignment]


def _break_hooks(model: nn.Module) -> None:
    model.stem._forward_hooks = None  # type: ignore[union-attr, assignment]


def _patch_class(model: nn.Module) -> None:
    nn.Dropout.forward = lambda self, x: x * 0  # type: ignore[method-assign]


def _change_class(model: nn.Module) -> None:
    model.pool.__class__ = nn.Identity  # type: ignore[assignment]


def _scale_weights(model: nn.Module) -> None:
    with torch.no_grad():
        model.head.weight.mul_(2)  # type: ignore[union-attr, operator]


CHANGES: dict[str, tuple[str, Deed, str]] = {
    "hook": ("registers a forward hook", lambda m: m.last.register_forward_hook(zero_output), "a forward hook on "),
    "pre-hook": ("registers a forward pre-hook", lambda m: m.register_forward_pre_hook(_ignore), "a forward hook on "),
    "backward-hook": (
        "registers a backward hook",
        lambda m: m.stem.register_full_backward_hook(_ignore),
        "a backward hook on ",
    ),
    "hooks-replaced": ("replaces the hooks of a module", _clear_hooks, "a forward hook on "),
    "hooks-broken": (
        "replaces the dictionary of hooks by None",
        _break_hooks,
        "the internal dictionary _forward_hooks",
    ),
    "frozen": ("sets `requires_grad`", lambda m: m.requires_grad_(False), "requires_grad of "),
    "gradients": ("runs a backward pass to the parameters", _backward, r"\.grad of "),
    "mode": ("sets the training mode of a module", lambda m: m.stem.train(), "the mode of "),
    "new-module": ("adds a module", _add_module, "the submodules of "),
    "no-module": ("removes a module", _remove_module, "the submodules of "),
    "new-parameter": (
        "adds a parameter",
        lambda m: m.stem.register_parameter("mine", nn.Parameter(torch.zeros(1))),
        "the new tensor ",
    ),
    "parameter": ("replaces a parameter", _replace_parameter, "another tensor as "),
    "buffer": (
        "replaces a buffer",
        lambda m: m.stem[1].register_buffer("running_mean", torch.ones(8)),
        "another tensor as ",
    ),
    "forward": ("replaces the `forward` of a module", _patch_forward, "the forward of "),
    "class-forward": ("replaces the `forward` of a class", _patch_class, "the forward of the class of "),
    "class": ("changes the class of a module", _change_class, "the class of "),
}
WEIGHTS: dict[str, tuple[str, Deed]] = {
    "weights": ("writes to the weights", _scale_weights),
    "dtype": ("converts the weights to half precision and back", lambda m: m.half().float()),
    "statistics": ("updates the statistics of batch norm", lambda m: m.train()(torch.ones(2, 3, 32, 32))),
}
IN_WEIGHTS = "Its results. An engine asks you to load the model again, and a benchmark restores the weights."


def _at_model(deed: Deed) -> Callable[[xai.Captured], Any]:
    return lambda captured: deed(captured.adapter.model)


def _hook(owner: Any) -> None:
    owner.model.last.register_forward_hook(zero_output)


def _case(plugin: Any, description: str, change: str = "a forward hook on ", **options: Any) -> Misbehavior:
    return Misbehavior(plugin, f"It {description}.", SideEffectError, f"changed the model: {change}", **options)


MODEL = Kind(
    "model",
    "State of the model",
    "Its results. The model is restored.",
    (
        *(
            _case(BadExplainer(f"model-{name}", _at_model(deed)), description, change)
            for name, (description, deed, change) in CHANGES.items()
        ),
        *(
            _case(
                BadExplainer(f"model-{name}", _at_model(deed)),
                description,
                ".*other values of ",
                cost=IN_WEIGHTS,
                changes_weights=True,
            )
            for name, (description, deed) in WEIGHTS.items()
        ),
        _case(
            BadExplainer("needs-hook", needs=lambda adapter: (_hook(adapter), xai.Needs((adapter.default_layer,)))[1]),
            "registers a forward hook in `needs`",
        ),
        _case(
            BadExplainer("passes-hook", forward_passes=lambda adapter: (_hook(adapter), 1)[1]),
            "registers a forward hook in `forward_passes`",
        ),
        _case(BadMetric("metric-hook", lambda e, s: _hook(e)), "is a metric that registers a forward hook"),
        _case(
            BadMetric("metric-weights", lambda e, s: _scale_weights(e.model)),
            "is a metric that writes to the weights",
            "other values of ",
            cost=IN_WEIGHTS,
            changes_weights=True,
        ),
    ),
)
