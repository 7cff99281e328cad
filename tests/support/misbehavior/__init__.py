"""A catalogue of plugins that misbehave, one module for each kind."""

from support.misbehavior.adapters import ADAPTERS
from support.misbehavior.case import Kind, Misbehavior
from support.misbehavior.discovery import DISCOVERY
from support.misbehavior.endings import ENDINGS
from support.misbehavior.exceptions import EXCEPTIONS
from support.misbehavior.model import MODEL
from support.misbehavior.others import OTHERS
from support.misbehavior.process import PROCESS
from support.misbehavior.time_limits import TIME_LIMITS
from support.misbehavior.values import VALUES
from support.misbehavior.writes import ATTRIBUTES, WRITES

IN_CALLS = (WRITES, ATTRIBUTES, EXCEPTIONS, PROCESS, MODEL, VALUES, TIME_LIMITS)
"""Plugins whose calls misbehave, in a way that the process survives."""
KINDS = (*IN_CALLS, ENDINGS, ADAPTERS, DISCOVERY, OTHERS)
__all__ = ["ADAPTERS", "DISCOVERY", "ENDINGS", "EXCEPTIONS", "IN_CALLS", "KINDS", "OTHERS", "Kind", "Misbehavior"]
