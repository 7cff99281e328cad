"""Settings are declared once: the command line, the function, the manifest and the page follow the declarations."""

import inspect
import math
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

import xai_core as xai
from support.paths import ROOT
from xai_core.benchmarking.declaration import checked_value, declaration, default_text, value_type
from xai_core.benchmarking.manifest import Manifest
from xai_core.benchmarking.settings import CHOSEN, EXECUTION, RECORDED, SETTINGS, Execution, Settings
from xai_core.cli import app
from xai_core.errors import OptionError

PAGE = (ROOT / "docs" / "benchmark.md").read_text()


@pytest.mark.parametrize("settings", [CHOSEN, RECORDED, EXECUTION], ids=["chosen", "recorded", "execution"])
def test_the_page_contains_the_declared_settings(settings: dict[str, Any]) -> None:
    rows = []
    for name, setting in settings.items():
        declared = declaration(setting)
        option = (declared.option or name).replace("_", "-")
        default = default_text(setting)
        rows.append(f"| `{name}` | `--{option}` |{f' {default} ' if default else ' '}| {declared.help} |\n")
    assert "| setting | option | default | meaning |\n| --- | --- | --- | --- |\n" + "".join(rows) + "\n" in PAGE


def test_the_command_has_an_option_for_each_setting() -> None:
    command = typer.main.get_command(app).commands["benchmark"]  # type: ignore[attr-defined] # a group
    options = {option.name: option for option in command.params if option.param_type_name == "option"}
    assert [name for name in options if name != "help"] == [*SETTINGS]
    for name, setting in SETTINGS.items():
        declared = declaration(setting)
        assert options[name].opts == [f"--{(declared.option or name).replace('_', '-')}"]
        assert options[name].help.startswith(declared.help)
        assert options[name].multiple == declared.several


def test_the_function_has_an_argument_for_each_setting() -> None:
    parameters = inspect.signature(xai.benchmark).parameters
    assert {*parameters} == {*SETTINGS, "progress"}
    for name, setting in SETTINGS.items():
        default = inspect.Parameter.empty if setting.default is MISSING else setting.default
        assert parameters[name].default == default


def test_the_manifest_records_the_declared_settings() -> None:
    names = {one.name for one in fields(Manifest)}
    assert {*RECORDED} < names
    assert not {*EXECUTION} & names


def test_no_setting_is_declared_twice() -> None:
    assert len(SETTINGS) == len(CHOSEN) + len(RECORDED) + len(EXECUTION)


@pytest.mark.parametrize("name", SETTINGS)
def test_defaults_are_allowed(name: str) -> None:
    setting = SETTINGS[name]
    if setting.default is not MISSING:
        assert checked_value(setting, setting.default) == setting.default
    declared = declaration(setting)
    assert declared.help.endswith(".")
    assert value_type(setting) in (str, int, float, bool, Path)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("limit", 0), ("limit", 2.0), ("seed", -1), ("batch", None), ("time_limit", math.inf), ("time_limit", True)),
        *(("controls", 1), ("precision", None), ("device", 0), ("out", None), ("workers", "2")),
    ],
)
def test_other_values_are_one_error(name: str, value: object) -> None:
    with pytest.raises(OptionError, match=rf"^{name}="):
        checked_value(SETTINGS[name], value)


def test_a_protocol_adds_its_metrics_and_target() -> None:
    settings = Settings.with_protocol(models=("m",), data="d", protocol="rise", metrics=("road",))
    assert settings.metrics == ("deletion", "insertion", "road")
    assert settings.target == "predicted"


def test_an_address_needs_the_ray_backend() -> None:
    assert Execution(out=Path("run"), backend="ray", address="head:6379").address == "head:6379"
    with pytest.raises(OptionError, match="pass backend='ray'"):
        Execution(out=Path("run"), address="head:6379")


def test_options_become_settings_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    passed: list[dict[str, Any]] = []
    monkeypatch.setattr("xai_core.cli.actions.benchmark.run_benchmark", lambda file, options: passed.append(options))
    arguments = [
        "--model",
        "timm:a,b=1",
        "--model",
        "c",
        "--method",
        "x:k=1,l=2,y",
        "--method",
        "z",
        "--without",
        "v,w",
    ]
    result = CliRunner().invoke(
        app, ["benchmark", *arguments, "--precision", "bf16", "--no-controls", "--time-limit", "5"]
    )
    assert result.exit_code == 0, result.output
    assert passed == [
        {
            "models": ("timm:a,b=1", "c"),
            "methods": ("x:k=1,l=2,y", "z"),
            "without": ("v,w",),
            "precision": "bf16",
            "controls": False,
            "time_limit": 5.0,
        }
    ]
