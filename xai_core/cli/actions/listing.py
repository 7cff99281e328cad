"""Implements `xai list`: tables of the installed methods, metrics, models, datasets and plugins."""

from collections.abc import Iterable

from rich.table import Table

from xai_core.cli.console import console, plain, print_line, table
from xai_core.cli.options import Kind
from xai_core.plugins.discovery import VARIABLE, Plugin, chosen_by_environment
from xai_core.plugins.loader import Entry
from xai_core.plugins.registry import registry, specs_of

REGISTERED = {
    Kind.methods: "explainers",
    Kind.metrics: "metrics",
    Kind.models: "models",
    Kind.datasets: "datasets",
}
"""The registry's name of each kind."""
MODELS_HINT = "`xai list models --source NAME` lists the models of a source."


def print_models(source: str) -> None:
    """Print the spec of each model of a source, one per line."""
    for spec in specs_of(registry().find("models", source)):
        print_line(spec)


def print_tables(kinds: Iterable[Kind]) -> None:
    """Print a table of each kind, and the plugins that failed to load or that are disabled.

    The names of a source's models are not read, because most sources import a library to find them.
    """
    tables = [_plugins() if kind is Kind.plugins else _entries(kind) for kind in kinds]
    broken = [(plugin, plugin.broken) for plugin in registry().plugins if plugin.broken]
    disabled = [(plugin, f"{VARIABLE}={chosen_by_environment()}") for plugin in registry().left_out]
    if broken:
        tables.append(_absent("Plugins that failed to load", broken))
    if disabled:
        tables.append(_absent("Disabled plugins", disabled))
    separator: list[str] = []
    for each in tables:
        console().print(*separator, each, sep="\n")
        separator = [""]


def _entries(kind: Kind) -> Table:
    caption = MODELS_HINT if kind is Kind.models else ""
    rows = table("Name", "Plugin", "Summary", title=kind.capitalize(), caption=caption)
    entries: Iterable[Entry] = registry().entries[REGISTERED[kind]].values()
    for entry in sorted(entries, key=lambda entry: entry.name):
        rows.add_row(*map(plain, (entry.name, entry.plugin.release, entry.summary)))
    return rows


def _plugins() -> Table:
    rows = table("Plugin", "Package", "Provides", title="Plugins")
    for plugin in registry().plugins:
        if not plugin.broken:
            names = [
                name for kind in registry().entries.values() for name, entry in kind.items() if entry.plugin == plugin
            ]
            rows.add_row(*map(plain, (plugin.entry_point, plugin.release, ", ".join(names))))
    return rows


def _absent(title: str, reasons: Iterable[tuple[Plugin, str]]) -> Table:
    rows = table("Plugin", "Package", "Reason", title=title)
    for plugin, reason in reasons:
        rows.add_row(*map(plain, (plugin.entry_point, plugin.release)), plain(reason, "red"))
    return rows
