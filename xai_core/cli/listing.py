"""`xai list`: what is installed, and which distribution gives it."""

from collections.abc import Iterable
from enum import StrEnum
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from xai_core.cli.console import console, say, table
from xai_core.plugins.discovery import VARIABLE, Plugin, chosen_by_environment
from xai_core.plugins.loader import Entry
from xai_core.plugins.registry import registry, specs_of


class Kind(StrEnum):
    """What can be listed."""

    explainers = "explainers"
    metrics = "metrics"
    models = "models"
    datasets = "datasets"
    plugins = "plugins"


def listing(
    kind: Annotated[Kind | None, typer.Argument(help="What to list.  [default: all]", show_default=False)] = None,
    source: Annotated[
        str | None, typer.Option(metavar="NAME", help="List the models of one source, a spec per line.")
    ] = None,
) -> None:
    """List the installed explainers, metrics, models, data and plugins."""
    if source is not None:
        if kind not in (None, Kind.models):
            raise typer.BadParameter("goes with `xai list models` only", param_hint="--source")
        for spec in specs_of(registry().find("models", source)):
            say(spec)
        return
    tables = [_table(wanted) for wanted in (Kind if kind is None else [kind])]
    broken = [(plugin, plugin.broken) for plugin in registry().plugins if plugin.broken]
    left_out = [(plugin, f"{VARIABLE}={chosen_by_environment()}") for plugin in registry().left_out]
    if broken:
        tables.append(_absent("Plugins that failed to load", broken))
    if left_out:
        tables.append(_absent("Plugins left out", left_out))
    for place, shown in enumerate(tables):
        console().print(*[""] * bool(place), shown, sep="\n")


def _table(kind: Kind) -> Table:
    if kind is Kind.plugins:
        return _plugins(plugin for plugin in registry().plugins if not plugin.broken)
    entries = registry().entries[kind].values()
    return _models(entries) if kind is Kind.models else _entries(kind, entries)


def _entries(kind: Kind, entries: Iterable[Entry]) -> Table:
    made = table("Name", "From", "Summary", title=kind.capitalize())
    for entry in sorted(entries, key=lambda entry: entry.name):
        made.add_row(*map(Text, (entry.name, entry.plugin.release, entry.summary)))
    return made


def _models(entries: Iterable[Entry]) -> Table:
    caption = "`xai list models --source NAME` lists the models of a source."
    made = table("Source", "Models", "From", "Summary", right={"Models"}, title="Models", caption=caption)
    for entry in sorted(entries, key=lambda entry: entry.name):
        try:
            specs = specs_of(entry)
        except Exception as error:
            reason = Text(f"{type(error).__name__}: {error}", "red")
            made.add_row(Text(entry.name), "", Text(entry.plugin.release), reason)
            continue
        example = "" if specs == [entry.name] else f"\nsuch as {min(specs, key=len)}"
        made.add_row(Text(entry.name), f"{len(specs)}", Text(entry.plugin.release), Text(f"{entry.summary}{example}"))
    return made


def _plugins(plugins: Iterable[Plugin]) -> Table:
    made = table("Plugin", "From", "Gives", title="Plugins")
    for plugin in plugins:
        given = [
            name for found in registry().entries.values() for name, entry in found.items() if entry.plugin == plugin
        ]
        made.add_row(*map(Text, (plugin.entry_point, plugin.release, ", ".join(given))))
    return made


def _absent(title: str, reasons: Iterable[tuple[Plugin, str]]) -> Table:
    made = table("Plugin", "From", "Reason", title=title)
    for plugin, reason in reasons:
        made.add_row(*map(Text, (plugin.entry_point, plugin.release)), Text(reason, "red"))
    return made
