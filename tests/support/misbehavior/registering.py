"""Registers plugins of the catalogue as those of an installed package."""

import pytest
from torch import nn

import xai_core as xai
from support.misbehaving import THEIRS
from support.misbehavior.case import Misbehavior
from xai_core.plugin import Probe
from xai_core.plugins.loader import Entry
from xai_core.plugins.registry import registry


def register_adapter(case: Misbehavior, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Register an adapter that acts before it accepts every model. Return a list of its calls."""
    calls: list[str] = []

    class Odd(xai.ModelAdapter):
        @classmethod
        def suits(cls, model: nn.Module, probe: Probe) -> bool:
            calls.append(case.name)
            case.plugin(model)
            return True

    monkeypatch.setitem(registry().entries["adapters"], case.name, Entry(case.name, Odd, THEIRS))
    return calls
