"""`xai plugin check`: whether all that a plugin gives keeps what is promised of it."""

from collections.abc import Sequence
from typing import Annotated

import typer
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from xai_core.cli.console import console, counted, progress, say, table
from xai_core.plugins.registry import looking_in
from xai_core.testing.check import Outcome, Result, run_checks
from xai_core.testing.plugin import Asked, Subject, find_plugin, subjects_of

Several = list[str] | None
Results = list[tuple[Subject, list[Result]]]


def check(
    package: Annotated[
        str, typer.Argument(metavar="PACKAGE", help="An installed distribution, or a module with hooks.")
    ],
    model: Annotated[
        Several, typer.Option(metavar="SPEC", help="Models to try on, instead of small built-in ones; may be repeated.")
    ] = None,
    data: Annotated[Several, typer.Option(metavar="SPEC", help="Data to try a source on; may be repeated.")] = None,
    only: Annotated[
        Several, typer.Option(metavar="NAME", help="Of all that it gives, only this; a spec, too. May be repeated.")
    ] = None,
    all: Annotated[bool, typer.Option("--all", help="Show every check, kept ones too.")] = False,
) -> None:
    """Check that all that a plugin gives keeps what is promised of it.

    Ends with 0 where everything that was tried is kept, or excused with a reason, and with 1 otherwise.
    """
    found, plugins = find_plugin(package)
    with looking_in(found):
        subjects = [*subjects_of(found, plugins, Asked(model or (), data or (), only or ()))]
        results = _run(subjects)
    releases = " and ".join(
        dict.fromkeys(plugin.release if plugin.entry_point else plugin.module for plugin in plugins)
    )
    console().print(_summary(releases, results))
    if all:
        console().print("", _every_check(results))
    for title, outcomes in (
        ("Broken promises", (Outcome.broken, Outcome.outdated)),
        ("Excused, with the reason that the plugin gives", (Outcome.excused,)),
    ):
        _tell(title, [one for _, given in results for one in given if one.outcome in outcomes])
    _tell_not_tried(subjects)
    say(f"\n{_counts(subjects, results)}")
    tried = any(given for _, given in results)
    if not tried or not all_good(results):
        raise typer.Exit(1)


def all_good(results: Results) -> bool:
    """Whether nothing is to be mended."""
    return all(one.good for _, given in results for one in given)


def _run(subjects: Sequence[Subject]) -> Results:
    with progress() as bars:
        bar = bars.add_task("", total=sum(len(subject.checks) for subject in subjects))
        results: Results = []
        for subject in subjects:
            bars.update(bar, description=subject.name)
            results.append((subject, []))
            for result in run_checks(subject.checks):
                results[-1][1].append(result)
                bars.advance(bar)
        return results


def _summary(title: str, results: Results) -> Table:
    made = table("Kind", "Name", "Kept", "Of", "Excused", title=title, right={"Kept", "Of", "Excused"})
    for subject, given in results:
        if not given:
            made.add_row(subject.kind, Text(subject.name), Text("not tried", "yellow"), "", "")
            continue
        counts = {outcome: sum(one.outcome is outcome for one in given) for outcome in Outcome}
        style = "green" if all_good([(subject, given)]) else "red"
        excused = f"{counts[Outcome.excused] or ''}"
        made.add_row(subject.kind, Text(subject.name), Text(f"{counts[Outcome.kept]}", style), f"{len(given)}", excused)
    return made


def _every_check(results: Results) -> Table:
    made = table("Name", "Check", "Outcome")
    for subject, given in results:
        for one in given:
            made.add_row(Text(subject.name), one.check.name, Text(one.outcome, "" if one.good else "red"))
    return made


def _tell(title: str, results: Sequence[Result]) -> None:
    if results:
        console().print("", Text(title, "bold"), sep="\n")
    for one in results:
        style = "" if one.good else "red"
        console().print(Text(f"{one.check}", style))
        console().print(Padding(Text(one.check.promise), (0, 0, 0, 2), expand=False))
        console().print(Padding(Text(one.reason, style), (0, 0, 0, 4), expand=False))


def _tell_not_tried(subjects: Sequence[Subject]) -> None:
    left = [subject for subject in subjects if subject.not_tried]
    if left:
        console().print("", Text("Not tried", "bold"), sep="\n")
    for subject in left:
        console().print(Text(subject.name, "yellow"))
        console().print(Padding(Text(subject.not_tried), (0, 0, 0, 2), expand=False))


def _counts(subjects: Sequence[Subject], results: Results) -> str:
    outcomes = [one.outcome for _, given in results for one in given]
    counts = ", ".join(f"{outcomes.count(outcome)} {outcome}" for outcome in Outcome if outcome in outcomes)
    left = sum(bool(subject.not_tried) for subject in subjects)
    said = f"{counted(len(outcomes), 'check')}: {counts or 'nothing was tried'}"
    return f"{said}; {counted(left, 'thing')} not tried" if left and counts else said
