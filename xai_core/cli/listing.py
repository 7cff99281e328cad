"""`xai list`: what is installed, and which distribution gives it."""

from collections.abc import Iterable
from enum import StrEnum
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from xai_core.cli.console import console, say, table
from xai_core.registry import Entry, Plugin, registry
from xai_core.source import ModelSource


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
        for spec in _specs(registry().find("models", source)):
            say(spec)
        return
    tables = [_table(wanted) for wanted in (Kind if kind is None else [kind])]
    broken = [plugin for plugin in registry().plugins if plugin.broken]
    if broken:
        tables.append(_broken(broken))
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
        made.add_row(*map(Text, (entry.name, _distribution(entry.plugin), entry.summary)))
    return made


def _models(entries: Iterable[Entry]) -> Table:
    caption = "`xai list models --source NAME` lists the models of a source."
    made = table("Source", "Models", "From", "Summary", right={"Models"}, title="Models", caption=caption)
    for entry in sorted(entries, key=lambda entry: entry.name):
        specs = _specs(entry)
        example = "" if specs == [entry.name] else f"\nsuch as {min(specs, key=len)}"
        made.add_row(
            Text(entry.name), f"{len(specs)}", Text(_distribution(entry.plugin)), Text(f"{entry.summary}{example}")
        )
    return made


def _plugins(plugins: Iterable[Plugin]) -> Table:
    made = table("Plugin", "From", "Gives", title="Plugins")
    for plugin in plugins:
        given = [
            name for found in registry().entries.values() for name, entry in found.items() if entry.plugin == plugin
        ]
        made.add_row(*map(Text, (plugin.entry_point, _distribution(plugin), ", ".join(given))))
    return made


def _broken(plugins: Iterable[Plugin]) -> Table:
    made = table("Plugin", "From", "Reason", title="Plugins that failed to load")
    for plugin in plugins:
        made.add_row(*map(Text, (plugin.entry_point, _distribution(plugin))), Text(plugin.broken or "", "red"))
    return made


def _specs(entry: Entry) -> list[str]:
    source: ModelSource = entry.made_by()
    return [f"{entry.name}:{model}" for model in source.names()] or [entry.name]


def _distribution(plugin: Plugin) -> str:
    return f"{plugin.distribution} {plugin.version}"
