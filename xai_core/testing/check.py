"""A check: one promise, with a name, that something keeps or not."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import TypeVar

from xai_core.errors import OptionError
from xai_core.spec import suggest


class FailedCheckError(AssertionError):
    """A promise is not kept; the message says what was expected, what came, and what to do."""


@dataclass(frozen=True)
class Check:
    """One promise of one subject. Call it: it returns where the promise is kept, and raises where it is not.

    Attributes
    ----------
    subject
        What is checked: the spec of an explainer or metric, the name of a source, the class of an adapter.
    name
        What the promise is called, as a sentence in a Python name.
    promise
        The promise, as a sentence.
    run
        Tries it.
    expected_failure
        Why the subject cannot keep it, where that is known; then it must not.
    """

    subject: str
    name: str
    promise: str
    run: Callable[[], None]
    expected_failure: str | None = None

    def __call__(self) -> None:
        """Try the promise.

        Raises
        ------
        FailedCheckError
            Where it is not kept, with the reason. Errors of the subject itself pass as they are.
        """
        self.run()

    def __str__(self) -> str:
        return f"{self.subject}: {self.name}"


Case = TypeVar("Case")


def checks_of(
    subject: str,
    case: Case,
    promises: Sequence[Callable[[Case], None]],
    expected_failures: Mapping[str, str],
) -> Iterator[Check]:
    """The promises, functions of a case, as checks of a subject.

    Raises
    ------
    OptionError
        Where an expected failure has no reason, or is of no promise.
    """
    known = [promise.__name__ for promise in promises]
    for name, reason in expected_failures.items():
        if name not in known:
            raise OptionError(f"expected_failures of {subject}: there is no check {name!r}; {suggest(name, known)}")
        if not isinstance(reason, str) or not reason.strip():
            raise OptionError(f"expected_failures of {subject}: say why {name!r} cannot pass")
    return (
        Check(
            subject,
            promise.__name__,
            " ".join((promise.__doc__ or "").split()),
            partial(promise, case),
            expected_failures.get(promise.__name__),
        )
        for promise in promises
    )


def require(kept: bool, reason: str) -> None:
    """Raise FailedCheckError with the reason unless the promise is kept."""
    if not kept:
        raise FailedCheckError(reason)


class Outcome(StrEnum):
    """What a check came to."""

    kept = "kept"
    broken = "broken"
    excused = "excused"
    """Broken, as expected, with a reason."""
    outdated = "outdated"
    """Kept, though declared as one that cannot be."""


@dataclass(frozen=True)
class Result:
    """A check, what it came to, and why, where it is not plainly kept."""

    check: Check
    outcome: Outcome
    reason: str = ""

    @property
    def good(self) -> bool:
        """Whether nothing is to be mended."""
        return self.outcome in (Outcome.kept, Outcome.excused)


def run_checks(checks: Iterable[Check]) -> Iterator[Result]:
    """Run checks one by one, whatever they come to."""
    for check in checks:
        expected = check.expected_failure
        try:
            check()
        except Exception as error:
            said = str(error) if isinstance(error, FailedCheckError) else f"{type(error).__name__}: {error}"
            yield Result(check, Outcome.excused, expected) if expected else Result(check, Outcome.broken, said)
        else:
            yield (
                Result(check, Outcome.outdated, f"it passes: take it off `expected_failures` ({expected})")
                if (expected)
                else Result(check, Outcome.kept)
            )
