"""Conformance checks of a plugin, with their results as tables: the work of `xai plugin check`."""

from collections.abc import Sequence

import typer
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from xai_core.cli.console import console, counted, progress, say, table
from xai_core.plugins.registry import looking_in
from xai_core.testing.check import Outcome, Result, run_checks
from xai_core.testing.plugin import Asked, Subject, find_plugin, subjects_of

Results = list[tuple[Subject, list[Result]]]


def check_plugin(package: str, models: Sequence[str], data: Sequence[str], only: Sequence[str], show_all: bool) -> None:
    """Run the checks of everything that a plugin registers, and print which pass and which fail.

    Raises
    ------
    typer.Exit
        With code 1 if a check fails unexpectedly, or if no check ran.
    """
    found, plugins = find_plugin(package)
    with looking_in(found):
        subjects = [*subjects_of(found, plugins, Asked(models, data, only))]
        results = _run(subjects)
    releases = " and ".join(
        dict.fromkeys(plugin.release if plugin.entry_point else plugin.module for plugin in plugins)
    )
    console().print(_summary(releases, results))
    if show_all:
        console().print("", _every_check(results))
    for title, outcomes in (
        ("Failed checks", (Outcome.broken, Outcome.outdated)),
        ("Expected failures, with the declared reason", (Outcome.excused,)),
    ):
        _print_reasons(title, [each for _, checks in results for each in checks if each.outcome in outcomes])
    _print_not_tried(subjects)
    say(f"\n{_counts(subjects, results)}")
    ran = any(checks for _, checks in results)
    if not ran or not all_good(results):
        raise typer.Exit(1)


def all_good(results: Results) -> bool:
    """Return whether every check passed or is an expected failure."""
    return all(each.good for _, checks in results for each in checks)


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
    numbers = ("Checks", "Passed", "Expected failures")
    rows = table("Kind", "Name", *numbers, title=title, right=numbers)
    for subject, checks in results:
        if not checks:
            rows.add_row(subject.kind, Text(subject.name), "", Text("not checked", "yellow"), "")
            continue
        counts = {outcome: sum(each.outcome is outcome for each in checks) for outcome in Outcome}
        style = "green" if all_good([(subject, checks)]) else "red"
        expected = f"{counts[Outcome.excused] or ''}"
        passed = Text(f"{counts[Outcome.kept]}", style)
        rows.add_row(subject.kind, Text(subject.name), f"{len(checks)}", passed, expected)
    return rows


def _every_check(results: Results) -> Table:
    rows = table("Name", "Check", "Outcome")
    for subject, checks in results:
        for each in checks:
            rows.add_row(Text(subject.name), each.check.name, Text(each.outcome, "" if each.good else "red"))
    return rows


def _print_reasons(title: str, results: Sequence[Result]) -> None:
    if results:
        console().print("", Text(title, "bold"), sep="\n")
    for each in results:
        style = "" if each.good else "red"
        console().print(Text(f"{each.check}", style))
        console().print(Padding(Text(each.check.promise), (0, 0, 0, 2), expand=False))
        console().print(Padding(Text(each.reason, style), (0, 0, 0, 4), expand=False))


def _print_not_tried(subjects: Sequence[Subject]) -> None:
    unchecked = [subject for subject in subjects if subject.not_tried]
    if unchecked:
        console().print("", Text("Not checked", "bold"), sep="\n")
    for subject in unchecked:
        console().print(Text(subject.name, "yellow"))
        console().print(Padding(Text(subject.not_tried), (0, 0, 0, 2), expand=False))


def _counts(subjects: Sequence[Subject], results: Results) -> str:
    outcomes = [each.outcome for _, checks in results for each in checks]
    counts = ", ".join(f"{outcomes.count(outcome)} {outcome}" for outcome in Outcome if outcome in outcomes)
    unchecked = sum(bool(subject.not_tried) for subject in subjects)
    summary = f"{counted(len(outcomes), 'check')}: {counts or 'no check ran'}"
    return f"{summary}; {counted(unchecked, 'component')} not checked" if unchecked and counts else summary
