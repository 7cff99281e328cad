"""Options of `xai benchmark`, derived from the declared settings."""

import inspect
from dataclasses import Field
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer

from xai_core.benchmarking.declaration import declaration, default_text, value_type
from xai_core.benchmarking.settings import SETTINGS


def benchmark_command(
    file: Annotated[
        Path | None,
        typer.Argument(metavar="FILE", help="TOML file with settings. Command-line options override them."),
    ] = None,
    **options: Any,
) -> None:
    """Score methods on models and a dataset.

    The scores of each image, method and metric are saved in the folder RUN. At the end, the command prints tables that
    compare the methods, with confidence intervals and significance tests. To resume an interrupted run, repeat the
    same command. The command fails if RUN contains a run with other settings.
    """
    from xai_core.cli.actions.benchmark import run_benchmark

    run_benchmark(file, {name: _value(name, value) for name, value in options.items() if value is not None})


def _value(name: str, value: Any) -> Any:
    """Convert the value of an option to the value of a setting."""
    if isinstance(value, Enum):
        return value.value
    return tuple(value) if declaration(SETTINGS[name]).several else value


def _parameter(setting: Field[Any]) -> inspect.Parameter:
    """Return the parameter from which typer makes the option of a setting."""
    declared, kind = declaration(setting), value_type(setting)
    option = (declared.option or setting.name).replace("_", "-")
    flag = f"--{option}/--no-{option}" if kind is bool else f"--{option}"
    annotation: Any = Enum(setting.name, {value: value for value in declared.choices}) if declared.choices else kind
    default = default_text(setting)
    repeat = " Repeatable." if setting.name == "models" else ""
    help = f"{declared.help}{repeat}  [{f'default: {default}' if default else 'required here or in FILE'}]"
    return inspect.Parameter(
        setting.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=None,  # so that the value of a file is not overridden
        annotation=Annotated[
            (list[annotation] if declared.several else annotation) | None,
            typer.Option(flag, metavar=declared.metavar, help=help),
        ],
    )


_FILE = inspect.signature(benchmark_command).parameters["file"]
benchmark_command.__signature__ = inspect.Signature([_FILE, *map(_parameter, SETTINGS.values())])  # type: ignore[attr-defined] # typer reads it
