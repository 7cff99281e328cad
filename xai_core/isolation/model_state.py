"""Sees what a plugin's call left on a model, and puts back what can be put back."""

import contextlib
from collections import defaultdict
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakValueDictionary

from torch import Tensor, nn
from torch.jit import ScriptModule

from xai_core.isolation.error_context import PluginCall
from xai_core.model.execution import OwnHook, lock, rest_in, resting_modes

HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
_DICTS = ("_modules", "_parameters", "_buffers", *HOOKS)
SHOWN = 3
"""How many places are named before the rest are counted."""
Place = tuple[int, str]
"""A module, by identity, and what of it: one of `HOOKS`, a parameter or a buffer; the module itself where empty."""


@dataclass(frozen=True)
class SideEffects:
    """What was left on a model, in words; by which calls it may have been; whether some of it cannot be put back."""

    said: str
    calls: Sequence[PluginCall]
    lasting: bool


class ModelStateMonitor:
    """Compares one model, out of its wrappers, with what it was, for all engines and threads that explain it.

    `lock` is held while it does.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._moving: set[Place] = set()  # buffers that the model's own forward writes to
        self._state: _State | None = None
        self._inside = 0  # calls of plugins
        self._suspects: dict[str, PluginCall] = {}

    @classmethod
    def of(cls, model: nn.Module) -> "ModelStateMonitor":
        """The monitor over a model, which lives as long as someone holds it."""
        with lock:
            return _watches.setdefault(id(model), cls(model))

    def look(self) -> None:
        """Remember what the model is, unless a plugin is at work on it in some thread."""
        with lock:
            if not self._inside and not self._suspects and not (self._state and self._state.untouched()):
                self._state = _State(self._model, self._moving)

    @contextlib.contextmanager
    def learning(self) -> Iterator[None]:
        """Take the buffers that change while the model runs without plugins for ones that its own forward writes to."""
        with lock:
            before = _State(self._model, self._moving)
        yield
        with lock:
            after = _State(self._model, self._moving)
            self._moving |= {place for place in after.buffers if after.seen[place] != before.seen.get(place)}

    def enter(self) -> None:
        """Begin a call of a plugin."""
        with lock:
            self._inside += 1

    def leave(self, call: PluginCall) -> SideEffects | None:
        """End it, and find out what it left; where other threads are in a plugin too, the last of them does."""
        with lock:
            self._inside -= 1
            self._suspects[call.named] = call
            if self._inside:
                return None
            suspects, self._suspects = [*self._suspects.values()], {}
            if self._state is None or self._state.untouched():
                return None
            now = _State(self._model, self._moving)
            if now.seen == self._state.seen:
                return None
            said, lasting = _put_back(self._model, self._state, now)
            self._state = _State(self._model, self._moving)
            return SideEffects(said, suspects, lasting)


_watches: WeakValueDictionary[int, ModelStateMonitor] = WeakValueDictionary()


class _State:
    """What a model is.

    Attributes
    ----------
    modules
        By identity; scripted ones are not looked into.
    seen
        Of each place, what is compared: of a module its mode, a forward that is its own and its submodules; the hooks
        that are not the engine's; of a tensor which it is, its version, `requires_grad` and whether it has a gradient.
    kept
        Of each place, what is put back.
    buffers
        Places that are buffers. Those that are not saved with the model are caches, and anyone's to write to.
    """

    def __init__(self, model: nn.Module, moving: Container[Place]) -> None:
        self.modules = {id(module): module for module in model.modules() if not isinstance(module, ScriptModule)}
        self.seen: dict[Place, Any] = {}
        self.kept: dict[Place, Any] = {}
        self.buffers: list[Place] = []
        tensors: list[Tensor] = []
        modes = resting_modes(self.modules.values())
        for (here, module), training in zip(self.modules.items(), modes, strict=True):
            own = vars(module)
            self.seen[here, ""] = training, own.get("forward"), [*own["_modules"].values()]
            self.kept[here, ""] = dict(own["_modules"])
            for name in HOOKS:
                if foreign := {key: hook for key, hook in own[name].items() if type(hook) is not OwnHook}:
                    self.seen[here, name], self.kept[here, name] = {*foreign}, foreign
            caches = own["_non_persistent_buffers_set"]
            for kind in ("_parameters", "_buffers"):
                for name, tensor in own[kind].items():
                    if tensor is not None and name not in caches and (here, name) not in moving:
                        self.seen[here, name], self.kept[here, name] = _seen(tensor), tensor
                        tensors.append(tensor)
                        if kind == "_buffers":
                            self.buffers.append((here, name))
        self._dicts = [vars(module)[name] for module in self.modules.values() for name in _DICTS]
        self._were = [dict(one) for one in self._dicts]
        self._tensors = [tensor for tensor in tensors if _plain(tensor)]
        self._read_before = self._read()

    def untouched(self) -> bool:
        """Whether all is as it was, down to the engine's own hooks; if not, `seen` says what is."""
        try:
            return self._dicts == self._were and self._read() == self._read_before
        except RuntimeError:  # two tensors were compared that are not one
            return False

    def _read(self) -> tuple[list[Any], ...]:
        own = [vars(module) for module in self.modules.values()]
        return (
            [module.training for module in self.modules.values()],  # a compiled part has no flag of its own
            [one.get("forward") for one in own],
            [tensor._version for tensor in self._tensors],
            [tensor.data_ptr() for tensor in self._tensors],
            [tensor.requires_grad for tensor in self._tensors],
            [tensor.grad is None for tensor in self._tensors],
        )


def _seen(tensor: Tensor) -> tuple[Any, ...]:
    """Which tensor it is, its values by place and version, whether it takes gradients and has one."""
    if not _plain(tensor):
        return id(tensor), None, tensor.requires_grad, False
    return id(tensor), (tensor.data_ptr(), tensor._version), tensor.requires_grad, tensor.grad is not None


def _plain(tensor: Tensor) -> bool:
    """Whether it has a place and a version; tensors of inference mode have none, and other kinds may raise."""
    return type(tensor) in (Tensor, nn.Parameter) and tensor.is_leaf and not tensor.is_inference()


def _put_back(model: nn.Module, before: _State, now: _State) -> tuple[str, bool]:
    """Undo what was done between two states, and say what it was, and whether values of tensors changed."""
    names = {id(module): name for name, module in model.named_modules()}
    changes: dict[str, list[str]] = defaultdict(list)
    lasting = False
    for place in {**before.seen, **now.seen}:
        here, name = place
        old, new = before.seen.get(place), now.seen.get(place)
        if old == new or here not in before.modules:  # a module that was added goes with its place in another
            continue
        module = before.modules[here]
        own, where = vars(module), names.get(here, type(module).__name__)
        if not name:
            if new is not None:
                _put_back_module(module, old, new, before.kept[place], where or "the model itself", changes)
        elif name in HOOKS:
            changes[f"a {name.split('_')[1]} hook on"].append(where or "the model itself")
            for key in (new or set()) - (old or set()):
                del own[name][key]
            own[name].update(before.kept.get(place, {}))
        else:
            where = f"{where}.{name}".lstrip(".")
            tensors = own["_buffers"] if name in own["_buffers"] else own["_parameters"]
            if old is None:
                changes["the new tensor"].append(where)
                del tensors[name]
                continue
            tensor = before.kept[place]
            if new is None or old[0] != new[0]:
                changes["another tensor as"].append(where)
                tensors[name] = tensor
            _, values, gradients, gradient = _seen(tensor)
            if values != old[1]:
                changes["other values of"].append(where)
                lasting = True
            if gradients != old[2]:
                changes["requires_grad of"].append(where)
                tensor.requires_grad_(old[2])
            if gradient != old[3]:
                changes[".grad of"].append(where)
                tensor.grad = None
    return ", ".join(f"{what} {_listed(places)}" for what, places in changes.items()), lasting


def _put_back_module(
    module: nn.Module,
    old: Any,
    new: Any,
    children: Mapping[str, nn.Module | None],
    where: str,
    changes: Mapping[str, list[str]],
) -> None:
    for what, one, other in zip(("the mode of", "the forward of", "the submodules of"), old, new, strict=True):
        if one != other:
            changes[what].append(where)
    rest_in(module, old[0])
    own = vars(module)
    if old[1] is not new[1]:
        own.pop("forward", None)
        own.update({} if old[1] is None else {"forward": old[1]})
    own["_modules"].clear()
    own["_modules"].update(children)


def _listed(places: Sequence[str]) -> str:
    more = len(places) - SHOWN
    return " and ".join([", ".join(places[:SHOWN]), *([f"{more} more"] if more > 0 else [])])
