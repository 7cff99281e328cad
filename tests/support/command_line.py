"""Commands run in this process, and how a refused command answers."""

from typer.testing import CliRunner

from xai_core.cli import app


class Run:
    """What a command did."""

    def __init__(self, *args: object) -> None:
        result = CliRunner().invoke(app, [str(arg) for arg in args])
        self.code, self.out, self.err, self.exception = result.exit_code, result.stdout, result.stderr, result.exception


def refused(run: Run, *words: str) -> None:
    """The command ended with one line that holds the words, and no traceback."""
    assert run.code == 2
    [line] = run.err.splitlines()
    assert line.startswith("error: ")
    for word in words:
        assert word in line
    assert "Traceback" not in run.out + run.err


class Did:
    """What a command did."""

    def __init__(self, *args: object) -> None:
        result = CliRunner(env={"COLUMNS": "100"}).invoke(app, [str(arg) for arg in args])
        self.code, self.out, self.err = result.exit_code, result.stdout, result.stderr
