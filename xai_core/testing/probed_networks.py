"""Engines of the built-in networks. A process probes each network once, for any number of methods."""

import copy
from typing import Any

from torch import nn

from xai_core.engine import Engine

_PROBED: dict[str, Engine] = {}


def probed_engine(name: str, model: nn.Module, **options: Any) -> Engine:
    """Return an engine for a built-in network.

    Parameters
    ----------
    name
        Name of the network. Networks of one name have the same structure.
    model
        The network, optionally in another precision or with other weights.
    options
        Options of `Engine`.
    """
    if name not in _PROBED:
        _PROBED[name] = Engine(copy.deepcopy(model))
    return Engine(model, **options)._with_probes_of(_PROBED[name])
