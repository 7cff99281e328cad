"""Conformance checks: named functions that pass or fail for one explainer, metric, adapter, model source or dataset."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial, wraps
from typing import TypeVar

import torch

from xai_core.error_text import described
from xai_core.errors import OptionError
from xai_core.spec import suggest


class FailedCheckError(AssertionError):
    """A conformance check failed. The message states what was expected, what was received and what to do."""


@dataclass(frozen=True)
class Check:
    """A conformance check of one component. Call it: it returns None if it passes and raises an exception if it fails.

    Attributes
    ----------
    component
        The tested component: the spec of an explainer or metric, the name of a source, or the class name of an adapter.
    name
        Name of the check, in snake case.
    description
        The requirement, as one sentence.
    run
        Runs the check, without arguments.
    expected_failure
        Reason why the component cannot pass the check, or None. If there is a reason, the check must fail.
    """

    component: str
    name: str
    description: str
    run: Callable[[], None]
    expected_failure: str | None = None

    def __call__(self) -> None:
        """Run the check.

        Raises
        ------
        FailedCheckError
            If the check fails. Exceptions from the tested component are not converted.
        """
        self.run()

    def __str__(self) -> str:
        return f"{self.component}: {self.name}"


Case = TypeVar("Case")


def build_checks(
    component: str,
    case: Case,
    functions: Sequence[Callable[[Case], None]],
    expected_failures: Mapping[str, str],
) -> Iterator[Check]:
    """Return one check for each function of a case.

    Parameters
    ----------
    component
        Name of the tested component.
    case
        Argument of each function.
    functions
        Functions that raise an exception if the check fails. The name of the function is the name of the check, and
        its docstring is the description.
    expected_failures
        Checks that the component cannot pass: a dict from the name of each check to the reason.

    Raises
    ------
    OptionError
        If an expected failure has no reason, or names an unknown check.
    """
    known = [function.__name__ for function in functions]
    for name, reason in expected_failures.items():
        if name not in known:
            raise OptionError(f"expected_failures of {component}: there is no check {name!r}; {suggest(name, known)}")
        if not isinstance(reason, str) or not reason.strip():
            raise OptionError(f"expected_failures of {component}: {name!r} has no reason; state why it cannot pass")
    return (
        Check(
            component,
            function.__name__,
            " ".join((function.__doc__ or "").split()),
            partial(function, case),
            expected_failures.get(function.__name__),
        )
        for function in functions
    )


def single_threaded(function: Callable[[Case], None]) -> Callable[[Case], None]:
    """Return a function that runs a check with one PyTorch thread: more threads slow down small networks."""

    @wraps(function)
    def run(case: Case) -> None:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            function(case)
        finally:
            torch.set_num_threads(threads)

    return run


def require(condition: bool, message: str) -> None:
    """Raise FailedCheckError with the message unless the condition is true."""
    if not condition:
        raise FailedCheckError(message)


class Outcome(StrEnum):
    """Outcome of a conformance check."""

    passed = "passed"
    failed = "failed"
    expected_failure = "expected failure"
    """Failed, as declared in `expected_failures`."""
    unexpected_pass = "unexpected pass"
    """Passed, although declared in `expected_failures`."""


@dataclass(frozen=True)
class CheckResult:
    """Result of a conformance check.

    Attributes
    ----------
    check
        The check that was run.
    outcome
        The outcome of the check.
    message
        Message of the failure, or the declared reason of an expected failure, or an empty string if the check passed.
    """

    check: Check
    outcome: Outcome
    message: str = ""

    @property
    def ok(self) -> bool:
        """Return whether the check passed, or failed as declared."""
        return self.outcome in (Outcome.passed, Outcome.expected_failure)


def run_checks(checks: Iterable[Check]) -> Iterator[CheckResult]:
    """Run checks one by one and yield the result of each. A failed check does not stop the remaining checks."""
    for check in checks:
        try:
            check()
        except Exception as error:
            yield _failure(check, error)
        else:
            yield _success(check)


def _failure(check: Check, error: Exception) -> CheckResult:
    if check.expected_failure:
        return CheckResult(check, Outcome.expected_failure, check.expected_failure)
    message = str(error) if isinstance(error, FailedCheckError) else described(error)
    return CheckResult(check, Outcome.failed, message)


def _success(check: Check) -> CheckResult:
    if check.expected_failure:
        message = f"the check passes; remove it from `expected_failures` (declared reason: {check.expected_failure})"
        return CheckResult(check, Outcome.unexpected_pass, message)
    return CheckResult(check, Outcome.passed)
