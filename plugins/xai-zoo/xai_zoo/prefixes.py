"""Finds the prefix that training libraries put before the names of a model's entries."""

from collections import OrderedDict
from collections.abc import Collection, Iterable, Mapping

from torch import Tensor

StateDict = dict[str, Tensor]
_OPTIONAL = "num_batches_tracked"
_ANCHORS = 8
"""The number of the model's longest keys that are searched in a state dict."""


def exact_prefixes(state: Collection[str], own: Collection[str]) -> list[str]:
    """Return the prefixes whose removal leaves exactly a model's keys. Keys outside of a prefix do not count.

    Parameters
    ----------
    state
        The keys of a state dict.
    own
        The keys of the model. Counts of batches may be missing, as in files of old versions of PyTorch.
    """
    required = _required(own)
    return [
        prefix
        for prefix in _candidates(state, required)
        if _required(key[len(prefix) :] for key in state if key.startswith(prefix)) == required
    ]


def likely_prefix(state: Collection[str], own: Collection[str]) -> str:
    """Return the prefix whose removal results in most of a model's keys, or nothing if none results in half of them."""
    required = _required(own)
    matches = {
        prefix: len(required & {key[len(prefix) :] for key in state if key.startswith(prefix)})
        for prefix in _candidates(state, required)
    }
    best = max(matches, key=lambda prefix: matches[prefix], default="")
    return best if 2 * matches.get(best, 0) >= len(required) else ""


def without_prefix(state: Mapping[str, Tensor], prefix: str) -> StateDict:
    """Return the entries with a prefix, without the prefix."""
    inside: StateDict = OrderedDict(
        (key[len(prefix) :], value) for key, value in state.items() if key.startswith(prefix)
    )
    if metadata := getattr(state, "_metadata", None):
        versions = {f"{key}.": value for key, value in metadata.items()}  # by module
        inside._metadata = OrderedDict(  # type: ignore[attr-defined]
            (key[len(prefix) :].removesuffix("."), value) for key, value in versions.items() if key.startswith(prefix)
        )
    return inside


def _candidates(state: Collection[str], required: Collection[str]) -> list[str]:
    """Return the prefixes before any of the model's keys, in order of their length."""
    anchors = sorted(required, key=len, reverse=True)[:_ANCHORS]
    prefixes = {key.removesuffix(name) for name in anchors for key in state if key == name or key.endswith(f".{name}")}
    return sorted(prefixes, key=lambda prefix: (len(prefix), prefix))


def _required(keys: Iterable[str]) -> set[str]:
    return {key for key in keys if not key.endswith(_OPTIONAL)}
