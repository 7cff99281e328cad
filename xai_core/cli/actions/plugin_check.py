"""Implements `xai plugin check`: conformance checks of a plugin, with their results as tables."""

from collections.abc import Sequence

import typer
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from xai_core.cli.console import console, counted, print_line, progress_bar, table
from xai_core.plugins.registry import looking_in
from xai_core.testing.check import CheckResult, Outcome, run_checks
from xai_core.testing.plugin_checks import CheckOptions, Component, find_plugin, plugin_components

Results = list[tuple[Component, list[CheckResult]]]


def check_plugin(package: str, models: Sequence[str], data: Sequence[str], only: Sequence[str], show_all: bool) -> None:
    """Run the checks of everything that a plugin registers, and print which pass and which fail.

    Raises
    ------
    typer.Exit
        With code 1 if a check fails unexpectedly, or if no check ran.
    """
    found, plugins = find_plugin(package)
    with looking_in(found):
        components = [*plugin_components(found, plugins, CheckOptions(models, data, only))]
        results = _run(components)
    releases = " and ".join(
        dict.fromkeys(plugin.release if plugin.entry_point else plugin.module for plugin in plugins)
    )
    console().print(_summary(releases, results))
    if show_all:
        console().print("", _every_check(results))
    for title, outcomes in (
        ("Failed checks", (Outcome.failed, Outcome.unexpected_pass)),
        ("Expected failures, with the declared reason", (Outcome.expected_failure,)),
    ):
        _print_reasons(title, [each for _, checks in results for each in checks if each.outcome in outcomes])
    _print_unchecked(components)
    print_line(f"\n{_counts(components, results)}")
    ran = any(checks for _, checks in results)
    if not ran or not all_ok(results):
        raise typer.Exit(1)


def all_ok(results: Results) -> bool:
    """Return whether every check passed or is an expected failure."""
    return all(each.ok for _, checks in results for each in checks)


def _run(components: Sequence[Component]) -> Results:
    with progress_bar() as bars:
        bar = bars.add_task("", total=sum(len(component.checks) for component in components))
        results: Results = []
        for component in components:
            bars.update(bar, description=component.name)
            results.append((component, []))
            for result in run_checks(component.checks):
                results[-1][1].append(result)
                bars.advance(bar)
        return results


def _summary(title: str, results: Results) -> Table:
    numbers = ("Checks", "Passed", "Expected failures")
    rows = table("Kind", "Name", *numbers, title=title, right=numbers)
    for component, checks in results:
        if not checks:
            rows.add_row(component.kind, Text(component.name), "", Text("not checked", "yellow"), "")
            continue
        counts = {outcome: sum(each.outcome is outcome for each in checks) for outcome in Outcome}
        style = "green" if all_ok([(component, checks)]) else "red"
        expected = f"{counts[Outcome.expected_failure] or ''}"
        passed = Text(f"{counts[Outcome.passed]}", style)
        rows.add_row(component.kind, Text(component.name), f"{len(checks)}", passed, expected)
    return rows


def _every_check(results: Results) -> Table:
    rows = table("Name", "Check", "Outcome")
    for component, checks in results:
        for each in checks:
            rows.add_row(Text(component.name), each.check.name, Text(each.outcome, "" if each.ok else "red"))
    return rows


def _print_reasons(title: str, results: Sequence[CheckResult]) -> None:
    if results:
        console().print("", Text(title, "bold"), sep="\n")
    for each in results:
        style = "" if each.ok else "red"
        console().print(Text(f"{each.check}", style))
        console().print(Padding(Text(each.check.description), (0, 0, 0, 2), expand=False))
        console().print(Padding(Text(each.message, style), (0, 0, 0, 4), expand=False))


def _print_unchecked(components: Sequence[Component]) -> None:
    unchecked = [component for component in components if component.skip_reason]
    if unchecked:
        console().print("", Text("Not checked", "bold"), sep="\n")
    for component in unchecked:
        console().print(Text(component.name, "yellow"))
        console().print(Padding(Text(component.skip_reason), (0, 0, 0, 2), expand=False))


def _counts(components: Sequence[Component], results: Results) -> str:
    outcomes = [each.outcome for _, checks in results for each in checks]
    counts = ", ".join(f"{outcomes.count(outcome)} {outcome}" for outcome in Outcome if outcome in outcomes)
    unchecked = sum(bool(component.skip_reason) for component in components)
    summary = f"{counted(len(outcomes), 'check')}: {counts or 'no check ran'}"
    return f"{summary}; {counted(unchecked, 'component')} not checked" if unchecked and counts else summary
