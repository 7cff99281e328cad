"""Reads weights files and loads them into models, with clear errors if they do not match."""

import warnings
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.utils import consume_prefix_in_state_dict_if_present

from xai_core.plugin import CheckpointError, CheckpointWarning, FileError, OptionError, Value, is_file, is_folder
from xai_zoo.prefixes import StateDict, exact_prefixes, likely_prefix, without_prefix
from xai_zoo.torch_file import EXPECTED, WRAPPERS, load_torch_file

_PREFIXES = ("module.", "_orig_mod.")  # of DataParallel and of torch.compile


def read_state_dict(file: Value | Path) -> StateDict:
    """Read a state dict from a safetensors file, or from a file that `torch.save` wrote. Pickled code never runs.

    If the state dict is inside a dict under one of the names in `WRAPPERS`, it is unwrapped. The prefixes of
    DataParallel and torch.compile are removed. `fit` removes other prefixes, for which it needs the model.

    Raises
    ------
    FileError
        If the file does not exist.
    CheckpointError
        If the file cannot be read, contains no state dict, or unpacks to too many bytes.
    """
    if not isinstance(file, str | Path):
        raise OptionError(f"expected weights= as a path, or `none` for random weights, got {file!r}")
    path = Path(file).expanduser()
    if not is_file(path):
        raise FileError(f"weights file {path} {'is a folder' if is_folder(path) else 'does not exist'}")
    state = _unwrapped(_read(path), path)
    if not isinstance(state, Mapping):
        raise CheckpointError(f"{path} contains a {type(state).__name__}; {EXPECTED}")
    others = [f"{key!r} ({type(value).__name__})" for key, value in state.items() if not _entry(key, value)]
    if others or not state:
        raise CheckpointError(f"{path} is not a state dict: it contains {_few(others) or 'nothing'}; {EXPECTED}")
    return _without_prefix(state)


def select(model: nn.Module, state: Mapping[str, Tensor], file: Value | Path) -> StateDict:
    """Return the entries of a model, without the prefix that a training library put before their names.

    The prefix is any text whose removal results in exactly the model's keys, such as `model.` or `net.backbone.`. If
    there is no such prefix, all entries are returned unchanged.

    Warns
    -----
    CheckpointWarning
        If the file contains entries without the prefix, such as the weights of a loss. The warning names some of them.

    Raises
    ------
    CheckpointError
        If several prefixes are possible, as in a file with a teacher and a student.
    """
    own = model.state_dict()
    prefixes = exact_prefixes(state, own) if own else [""]
    if not prefixes or "" in prefixes:
        return dict(state) if type(state) is dict else without_prefix(state, "")
    if len(prefixes) > 1:
        raise CheckpointError(
            f"{file} contains several sets of weights for {type(model).__name__}, with the prefixes"
            f" {_few([*map(repr, prefixes)])}; save one of them to a separate file"
        )
    [prefix] = prefixes
    if ignored := [key for key in state if not key.startswith(prefix)]:
        message = f"{file}: loaded the weights with the prefix {prefix!r}, and ignored {_few(ignored)}"
        warnings.warn(CheckpointWarning(message), stacklevel=2)
    return without_prefix(state, prefix)


def fit(model: nn.Module, state: Mapping[str, Tensor], file: Value | Path) -> None:
    """Load every entry of a state dict into a model. See `select` for prefixes, and entries that are ignored.

    Raises
    ------
    CheckpointError
        If entries are missing, unexpected, or differ in shape. The message names some of them.
    """
    own = model.state_dict()
    state = select(model, state, file)
    if prefix := likely_prefix(state, own):
        state = without_prefix(state, prefix)
    misshaped = {key for key, value in state.items() if key in own and value.shape != own[key].shape}
    rest = OrderedDict((key, value) for key, value in state.items() if key not in misshaped)
    # Load hooks rename old entries by version. A safetensors file has no version, so the current one is assumed.
    rest._metadata = getattr(state, "_metadata", None) or getattr(own, "_metadata", None)  # type: ignore[attr-defined]
    try:
        missing, unexpected = model.load_state_dict(rest, strict=False)
    except (RuntimeError, ValueError) as error:
        raise CheckpointError(f"{file} does not match {type(model).__name__}: {error}") from error
    missing = [key for key in missing if key not in misshaped and not key.endswith("num_batches_tracked")]
    problems = {
        "missing": missing,
        "unexpected": unexpected,
        "with another shape": [
            f"{key} (file: {list(state[key].shape)}, model: {list(own[key].shape)})" for key in sorted(misshaped)
        ],
    }
    listed = "; ".join(f"{what}: {_few(keys)}" for what, keys in problems.items() if keys)
    if listed:
        classes = _classes(misshaped, state)
        without = f" After removing the prefix {prefix!r}:" if prefix else ""
        raise CheckpointError(
            f"{file} does not match {type(model).__name__}.{without} {listed}. Check that the file belongs to this"
            f" model, and pass the options that the model was built with, such as num_classes={classes}"
        )


def _classes(misshaped: set[str], state: Mapping[str, Tensor]) -> str:
    """Return the number of classes in a file if only the head differs, or `N`."""
    sizes = {state[key].shape[:1] for key in misshaped}
    heads = {key.rpartition(".")[0] for key in misshaped}
    return str(*sizes.pop()) if len(sizes) == len(heads) == 1 else "N"


def _read(path: Path) -> Any:
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        return load_torch_file(path)
    except CheckpointError:
        raise
    except Exception as error:  # for damaged files, both readers raise errors of many classes
        raise CheckpointError(f"{path} cannot be read ({str(error).partition(chr(10))[0]}); {EXPECTED}") from error


def _unwrapped(state: Any, path: Path) -> Any:
    """Return the innermost dict under the names that training scripts use."""
    outer = [state]
    while key := next((key for key in WRAPPERS if _wraps(state, key)), None):
        state = state[key]
        if any(state is each for each in outer):
            raise CheckpointError(f"{path} contains a dict that contains itself under {key!r}; {EXPECTED}")
        outer.append(state)
    return state


def _wraps(state: Any, key: str) -> bool:
    return isinstance(state, Mapping) and isinstance(state.get(key), Mapping)


def _entry(key: object, value: object) -> bool:
    return isinstance(key, str) and isinstance(value, Tensor)


def _without_prefix(state: Mapping[str, Tensor]) -> StateDict:
    plain = OrderedDict(state)
    if metadata := getattr(state, "_metadata", None):
        plain._metadata = metadata  # type: ignore[attr-defined]
    while prefix := next((p for p in _PREFIXES if all(key.startswith(p) for key in plain)), None):
        consume_prefix_in_state_dict_if_present(plain, prefix)
    return plain


def _few(names: list[str], count: int = 3) -> str:
    more = f" and {len(names) - count} more" if len(names) > count else ""
    return ", ".join(names[:count]) + more
