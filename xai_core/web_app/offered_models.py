"""The models that the app offers. Each is loaded when it is first chosen."""

import threading
from collections.abc import Callable, Mapping

from xai_core.engine import Engine
from xai_core.web_app.chosen_model import ChosenModel


class OfferedModels:
    """Models by name, shared by all users.

    Parameters
    ----------
    engines
        A function for each model, which returns its engine. It is called once.
    """

    def __init__(self, engines: Mapping[str, Callable[[], Engine]]) -> None:
        self._engines = dict(engines)
        self._locks = {name: threading.Lock() for name in self._engines}
        self._chosen: dict[str, ChosenModel] = {}

    @property
    def names(self) -> list[str]:
        """The names of the models."""
        return [*self._engines]

    def __getitem__(self, name: str) -> ChosenModel:
        """Return a model, and load it if this has not been done."""
        with self._locks[name]:
            if name not in self._chosen:
                self._chosen[name] = ChosenModel.of(self._engines[name]())
        return self._chosen[name]
