"""Side effects of a plugin call."""

from collections.abc import Sequence
from dataclasses import dataclass

from xai_core.isolation.error_context import PluginCall


@dataclass(frozen=True)
class SideEffects:
    """Changes of a model, or of settings of the process, by a plugin call.

    Attributes
    ----------
    description
        Description of the changes in error messages.
    calls
        The calls that may have made them: several if they ran at the same time.
    weights_changed
        Whether values of parameters or buffers changed, which cannot be undone.
    """

    description: str
    calls: Sequence[PluginCall]
    weights_changed: bool = False
