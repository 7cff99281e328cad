"""`xai plugin new`: what it writes passes its own tests and `xai plugin check`, and what it refuses."""

import json
import tomllib
from pathlib import Path

import pytest

from support import subprocesses as fresh
from support.command_line import Run, refused
from support.paths import ROOT
from xai_core.cli.plugin_new import Kind, License, requirement


@pytest.fixture(autouse=True)
def in_own_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")


def new(*args: object) -> Run:
    return Run("plugin", "new", *args)


def installed(folder: Path, site: Path) -> None:
    """Let a distribution in a folder be found, as an editable install does."""
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    info = site / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir(parents=True)
    needs = "".join(f"Requires-Dist: {one}\n" for one in project["dependencies"])
    said = f"Metadata-Version: 2.4\nName: {project['name']}\nVersion: {project['version']}\n{needs}"
    (info / "METADATA").write_text(said)
    points = "".join(f"{name} = {value}\n" for name, value in project["entry-points"]["xai_core"].items())
    (info / "entry_points.txt").write_text(f"[xai_core]\n{points}")


@pytest.mark.slow
def test_what_is_written_passes_its_own_tests_and_the_check(tmp_path: Path) -> None:
    names = [f"own-{kind}" for kind in Kind]
    for kind, name in zip(Kind, names, strict=True):
        run = new(name, "--kind", kind)
        assert run.code == 0, run.err
        assert f"python -m pytest {name}\n  xai plugin check {name}\n" in run.out
        installed(tmp_path / name, tmp_path / "site")
    out = fresh.printed(
        f"""
        import contextlib, io, json, pytest
        from typer.testing import CliRunner
        told = io.StringIO()
        with contextlib.redirect_stdout(told):
            failed = pytest.main(["-q", "-W", "error", "-p", "no:cacheprovider", "-p", "no:xdist", *{names}])
        from xai_core.cli import app
        checks = [CliRunner().invoke(app, ["plugin", "check", name]) for name in {names}]
        print(json.dumps([int(failed), told.getvalue(), [[one.exit_code, one.output] for one in checks]]))
        """.replace("\n        ", "\n"),
        str(tmp_path / "site"),
        *(str(tmp_path / name) for name in names),
    )
    failed, told, checks = json.loads(out.splitlines()[-1])
    assert not failed, told
    for kind, (code, said) in zip(Kind, checks, strict=True):
        assert code == 0, said
        assert f"own-{kind} 0.1.0" in said
        assert "not checked" not in said


def test_every_word_is_replaced_and_everything_has_its_place(tmp_path: Path) -> None:
    for kind in Kind:
        folder = tmp_path / "here" / f"a-{kind}"
        assert new(f"A.{kind}", "--kind", kind, "--into", "here", "--license", "apache-2.0").code == 0
        files = {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}
        assert {
            *(".github/workflows/ci.yml", ".gitignore", "LICENSE", "README.md", "pyproject.toml"),
            *(f"a_{kind}/__init__.py", f"a_{kind}/py.typed", f"tests/test_a_{kind}.py"),
        } <= files.keys()
        for path, text in files.items():
            assert not {word for word in ("new-plugin", "new_plugin", "NewPlugin", "NEW_") if word in path + text}
        assert f"xai plugin check a-{kind}" in files[".github/workflows/ci.yml"]
        assert files["LICENSE"] == (ROOT / "LICENSE").read_text()
        for path, text in files.items():
            if path.endswith(".py"):
                compile(text, path, "exec")


@pytest.mark.parametrize(
    ("license", "expression", "begins"),
    [
        (License.mit, "MIT", "MIT License"),
        (License.bsd, "BSD-3-Clause", "BSD 3-Clause License"),
        (License.none, "LicenseRef-All-Rights-Reserved", None),
    ],
)
def test_the_license_is_the_one_that_is_chosen(
    tmp_path: Path, license: License, expression: str, begins: str | None
) -> None:
    assert new("own-cam", "--license", license, "--author", "Ada Lovelace").code == 0
    project = tomllib.loads((tmp_path / "own-cam" / "pyproject.toml").read_text())["project"]
    assert (project["license"], project["authors"]) == (expression, [{"name": "Ada Lovelace"}])
    text = tmp_path / "own-cam" / "LICENSE"
    assert text.exists() == (begins is not None)
    if begins is not None:
        assert text.read_text().startswith(begins)
        assert "Ada Lovelace" in text.read_text()


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("my cam",), ("expected a package name of letters, digits and hyphens", "'my cam'")),
        (("-cam-",), ()),
        (("3d-cam",), ("begins with a letter", "'3d-cam'")),
        (("class",), ("'class' is a keyword or a standard module of Python",)),
        (("Json",), ("'json' is a keyword or a standard module of Python",)),
        (("xai_cam",), ("a package named 'xai-cam' already exists",)),
        (("typer",), ("a package named 'typer' already exists",)),
        (("xai-core",), ("a package named 'xai-core' already exists",)),
        (("grad-cam",), ("'grad-cam'", "already")),
        (("layer-cam",), ("xai-cam 0.1.0 already provides the explainer 'layer-cam'",)),
        (("deletion", "--kind", "metric"), ("already provides the metric 'deletion'",)),
        (("unet", "--kind", "adapter"), ("already provides the model 'unet'",)),
        (("shapes", "--kind", "dataset"), ("already provides the dataset 'shapes'",)),
        (("tests",), ("choose another name",)),
        (("own-cam", "--author", 'A "B" C'), ("expected a name without quotes",)),
        (("own-cam", "--into", "full"), ("already exists: choose another name, or another folder with --into",)),
        (("own-cam", "--into", "a-file"), ("--into: expected a folder, got the file a-file",)),
    ],
)
def test_what_cannot_be_begun_is_one_line_and_nothing_is_written(
    tmp_path: Path, args: tuple[str, ...], words: tuple[str, ...]
) -> None:
    (tmp_path / "full" / "own-cam").mkdir(parents=True)
    (tmp_path / "full" / "own-cam" / "notes.txt").write_text("mine")
    (tmp_path / "a-file").write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    run = new(*args)
    if words:
        refused(run, *words)
    assert run.code == 2
    assert sorted(tmp_path.rglob("*")) == before


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "own-cam").mkdir()
    assert new("own-cam").code == 0
    assert (tmp_path / "own-cam" / "own_cam" / "explainer.py").exists()


@pytest.mark.parametrize(
    ("release", "expected"),
    [
        ("0.1.0", "xai-core>=0.1,<0.2"),
        ("0.9.3.dev1", "xai-core>=0.9,<0.10"),
        ("2.3.1", "xai-core>=2.3,<3"),
    ],
)
def test_a_plugin_is_for_the_releases_that_do_not_break_it(release: str, expected: str) -> None:
    assert requirement(release) == expected


def test_a_module_that_is_there_is_not_hidden(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "own_cam.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    refused(new("own-cam", "--into", "elsewhere"), "a module named 'own_cam' is already installed")
