"""Detects side effects of a plugin call on a model, and undoes them where possible."""

import contextlib
from collections import defaultdict
from collections.abc import Container, Iterator, Mapping, Sequence
from typing import Any
from weakref import WeakValueDictionary

from torch import Tensor, nn
from torch.jit import ScriptModule

from xai_core.isolation.error_context import PluginCall
from xai_core.isolation.process_state import Snapshot
from xai_core.isolation.side_effects import SideEffects
from xai_core.model.execution import OwnHook, lock, restore_training_flag, training_flags
from xai_core.model.runtimes import replaces_tensors

HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
PROPERTIES = ("the mode of", "the forward of", "the submodules of", "the class of")
"""Descriptions of the compared properties of a module in messages."""
MAX_LISTED = 3
"""The number of locations that a message lists by name."""
Key = tuple[int, str]
"""Identifier of a module, and a name: one of `HOOKS`, a parameter, a buffer, or empty for the module itself."""


class ModelStateMonitor:
    """Compares one unwrapped model with its earlier state, for all engines and threads that explain it.

    Every method holds `lock`.

    Attributes
    ----------
    changing_settings
        Names of the settings of the process that the model changes itself, such as a random state.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._updated: set[Key] = set()  # buffers that the model's own forward pass updates
        self._state: _State | None = None
        self._active = 0  # plugin calls in progress
        self._suspects: dict[str, PluginCall] = {}
        self.changing_settings: set[str] = set()

    @classmethod
    def of(cls, model: nn.Module) -> "ModelStateMonitor":
        """Return the monitor of a model. It exists as long as it is referenced."""
        with lock:
            return _monitors.setdefault(id(model), cls(model))

    def remember(self) -> None:
        """Store the current state of the model, unless a plugin call is in progress in some thread."""
        with lock:
            if not self._active and not self._suspects and not (self._state and self._state.untouched()):
                self._state = _State(self._model, self._updated)

    @contextlib.contextmanager
    def learning(self) -> Iterator[None]:
        """Run the model without plugins. Buffers and settings that change are not compared from then on."""
        settings = Snapshot()
        with lock:
            before = _buffers(self._model)
        yield
        self.changing_settings.update(settings.changed())
        with lock:
            self._updated |= {key for key, buffer in _buffers(self._model).items() if buffer != before.get(key)}

    def enter(self) -> None:
        """Begin a plugin call."""
        with lock:
            self._active += 1

    def leave(self, call: PluginCall) -> SideEffects | None:
        """End a plugin call, and return its side effects.

        If calls of several threads overlap, the side effects of all are returned when the last call ends.
        """
        with lock:
            self._active -= 1
            self._suspects[call.description] = call
            if self._active:
                return None
            suspects, self._suspects = [*self._suspects.values()], {}
            if self._state is None or self._state.untouched():
                return None
            changes: dict[str, list[str]] = defaultdict(list)
            self._state.restore_containers(changes)
            now = _State(self._model, self._updated)
            if now.compared == self._state.compared and not changes:
                return None
            description, changed = _undo(self._model, self._state, now, changes)
            self._state = _State(self._model, self._updated)
            return SideEffects(description, suspects, changed)


_monitors: WeakValueDictionary[int, ModelStateMonitor] = WeakValueDictionary()


class _State:
    """Snapshot of a model's state: training flags, hooks, buffers, parameters and `requires_grad` flags.

    If each pass replaces the tensors of the model, the snapshot contains none.

    Attributes
    ----------
    modules
        Modules by identifier, without scripted modules.
    compared
        For each key, the values that are compared. For a module: its training flag, its own `forward` attribute, its
        submodules, its class, and the `forward` method of its class. For hooks: the identifiers of the hooks that do
        not belong to the engine. For a tensor: its identity, address, version, `requires_grad`, and whether it has a
        gradient.
    originals
        For each key, the objects to restore.
    """

    def __init__(self, model: nn.Module, updated: Container[Key]) -> None:
        self.modules = {id(module): module for module in model.modules() if not isinstance(module, ScriptModule)}
        self.compared: dict[Key, Any] = {}
        self.originals: dict[Key, Any] = {}
        tensors: list[Tensor] = []
        modes = training_flags(self.modules.values())
        kinds = () if replaces_tensors(model) else ("_parameters", "_buffers")
        for (ident, module), training in zip(self.modules.items(), modes, strict=True):
            own = vars(module)
            submodules, of_class = [*own["_modules"].values()], vars(type(module)).get("forward")
            self.compared[ident, ""] = training, own.get("forward"), submodules, type(module), of_class
            self.originals[ident, ""] = dict(own["_modules"])
            for name in HOOKS:
                if foreign := {key: hook for key, hook in own[name].items() if type(hook) is not OwnHook}:
                    self.compared[ident, name], self.originals[ident, name] = {*foreign}, foreign
            caches = own["_non_persistent_buffers_set"]
            for kind in kinds:
                for name, tensor in own[kind].items():
                    if tensor is not None and name not in caches and (ident, name) not in updated:
                        self.compared[ident, name], self.originals[ident, name] = _comparable(tensor), tensor
                        tensors.append(tensor)
        names = ("_modules", *kinds, *HOOKS)
        self._containers = [(vars(module), name) for module in self.modules.values() for name in names]
        self._contents_before = [own[name].copy() for own, name in self._containers]  # `copy.copy` pickles
        self._tensors = [tensor for tensor in tensors if _plain(tensor)]
        self._read_before = self._read()

    def untouched(self) -> bool:
        """Return whether nothing changed, engine hooks included. If it returns False, compare `compared`."""
        try:
            contents = [own.get(name) for own, name in self._containers]
            return contents == self._contents_before and self._read() == self._read_before
        except RuntimeError:  # different tensors were compared by value
            return False

    def restore_containers(self, changes: Mapping[str, list[str]]) -> None:
        """Restore the dictionaries of hooks, tensors and submodules that were replaced by other objects."""
        for (own, name), before in zip(self._containers, self._contents_before, strict=True):
            if not isinstance(own.get(name), dict):
                changes["the internal dictionary"].append(name)
                own[name] = before.copy()

    def _read(self) -> tuple[list[Any], ...]:
        own = [vars(module) for module in self.modules.values()]
        return (
            training_flags(self.modules.values()),
            [one.get("forward") for one in own],
            [type(module) for module in self.modules.values()],
            [vars(type(module)).get("forward") for module in self.modules.values()],
            [tensor._version for tensor in self._tensors],
            [tensor.data_ptr() for tensor in self._tensors],
            [tensor.requires_grad for tensor in self._tensors],
            [tensor.grad is None for tensor in self._tensors],
        )


def _buffers(model: nn.Module) -> dict[Key, tuple[Any, ...]]:
    """Return the compared values of the buffers that are saved with the model. Other buffers are caches."""
    modules = () if replaces_tensors(model) else model.modules()
    return {
        (id(module), name): _comparable(tensor)
        for module in modules
        if not isinstance(module, ScriptModule)
        for name, tensor in module._buffers.items()
        if tensor is not None and name not in module._non_persistent_buffers_set
    }


def _comparable(tensor: Tensor) -> tuple[Any, ...]:
    """Return the identity of a tensor, its address and version, and its gradient flags."""
    if not _plain(tensor):
        return id(tensor), None, tensor.requires_grad, False
    return id(tensor), (tensor.data_ptr(), tensor._version), tensor.requires_grad, tensor.grad is not None


def _plain(tensor: Tensor) -> bool:
    """Return whether the tensor has an address and a version. Inference tensors and tensor subclasses may have none."""
    return type(tensor) in (Tensor, nn.Parameter) and tensor.is_leaf and not tensor.is_inference()


def _undo(model: nn.Module, before: _State, now: _State, changes: Mapping[str, list[str]]) -> tuple[str, bool]:
    """Undo the changes between two states. The description also contains `changes`, which were undone before.

    Returns
    -------
    tuple
        The description of all changes, and whether tensor values changed.
    """
    names = {id(module): name for name, module in model.named_modules()}
    values_changed = False
    for key in {**before.compared, **now.compared}:
        ident, name = key
        old, new = before.compared.get(key), now.compared.get(key)
        if old == new or ident not in before.modules:  # an added module is removed with its entry in its parent
            continue
        module = before.modules[ident]
        own, location = vars(module), names.get(ident, type(module).__name__)
        if not name:
            if new is not None:
                _undo_module(module, old, new, before.originals[key], location or "the model itself", changes)
        elif name in HOOKS:
            changes[f"a {name.split('_')[1]} hook on"].append(location or "the model itself")
            for hook in (new or set()) - (old or set()):
                del own[name][hook]
            own[name].update(before.originals.get(key, {}))
        else:
            location = f"{location}.{name}".lstrip(".")
            tensors = own["_buffers"] if name in own["_buffers"] else own["_parameters"]
            if old is None:
                changes["the new tensor"].append(location)
                del tensors[name]
                continue
            tensor = before.originals[key]
            if new is None or old[0] != new[0]:
                changes["another tensor as"].append(location)
                tensors[name] = tensor
            _, values, gradients, gradient = _comparable(tensor)
            if values != old[1]:
                changes["other values of"].append(location)
                values_changed = True
            if gradients != old[2]:
                changes["requires_grad of"].append(location)
                tensor.requires_grad_(old[2])
            if gradient != old[3]:
                changes[".grad of"].append(location)
                tensor.grad = None
    return ", ".join(f"{what} {_listed(locations)}" for what, locations in changes.items()), values_changed


def _undo_module(
    module: nn.Module,
    old: Any,
    new: Any,
    children: Mapping[str, nn.Module | None],
    location: str,
    changes: Mapping[str, list[str]],
) -> None:
    for what, one, other in zip(PROPERTIES, old[:4], new[:4], strict=True):
        if one != other:
            changes[what].append(location)
    kind, method = old[3:]
    module.__class__ = kind
    if vars(kind).get("forward") is not method:
        changes["the forward of the class of"].append(location)
        if method is None:
            del kind.forward
        else:
            kind.forward = method
    restore_training_flag(module, old[0])
    own = vars(module)
    if old[1] is not new[1]:
        own.pop("forward", None)
        own.update({} if old[1] is None else {"forward": old[1]})
    own["_modules"].clear()
    own["_modules"].update(children)


def _listed(locations: Sequence[str]) -> str:
    more = len(locations) - MAX_LISTED
    return " and ".join([", ".join(locations[:MAX_LISTED]), *([f"{more} more"] if more > 0 else [])])
