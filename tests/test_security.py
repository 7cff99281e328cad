"""The claims of SECURITY.md that have no test elsewhere. Payloads that run would create the file `executed`."""

import ast
import csv
import io
import pickle
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import EpsImagePlugin, Image

import xai_core as xai
from support.benchmark_runs import Speckles, run
from support.command_line import Did
from support.paths import ROOT
from xai_core.benchmarking.checksums import checksum, decode_checksums, encode_checksums
from xai_core.benchmarking.summary import summarize
from xai_core.data.image_formats import readable_formats
from xai_core.data.images import open_image
from xai_core.errors import FileError, ImageFileError, XAIError
from xai_core.report.csv_text import csv_text
from xai_core.report.tables import TextTable, comma_separated
from xai_core.spec import parse

EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n%%EOF\n"
SHARD = "000-000000000"
UNPICKLING = {
    "xai_core/benchmarking/on_ray.py",  # what actors of the same run return
    "xai_core/benchmarking/plan.py",  # the plan that a worker of the same run sent
    "xai_core/benchmarking/planning.py",  # the settings that the parent process sends
    "xai_core/benchmarking/saved_maps.py",  # arrays without objects
    "xai_core/benchmarking/worker_process.py",  # what the parent process sends
    "xai_core/isolation/process_settings.py",  # the random state of this process
    "xai_core/testing/datasets.py",  # a copy of a dataset that the caller passes
}


def test_the_page_names_files_that_exist() -> None:
    page = (ROOT / "SECURITY.md").read_text()
    for path in re.findall(r"`([\w/-]+/\w+\.py)`|\]\(([\w/.-]+)\)", page):
        assert (ROOT / "".join(path)).is_file(), path


class Payload:
    def __reduce__(self) -> tuple[Callable[[Path], None], tuple[Path]]:
        return Path.touch, (Path("executed"),)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_postscript_file_with_the_name_of_a_photograph_is_not_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def interpreter(*_: object, **__: object) -> Image.Image:
        Path("executed").touch()
        return Image.new("RGB", (8, 8))

    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", interpreter)
    Path("photo.jpg").write_bytes(EPS)
    with pytest.raises(ImageFileError, match=r"photo\.jpg cannot be read .* in none of the formats .*JPEG, .*PNG"):
        open_image("photo.jpg")
    assert not Path("executed").exists()


@pytest.mark.parametrize("name", ["EPS", "ICNS", "XBM"])
def test_only_raster_formats_are_recognized(name: str) -> None:
    Image.new("1" if name == "XBM" else "L", (16, 16)).save("photo.png", name)
    with pytest.raises(ImageFileError, match="in none of the formats"):
        open_image("photo.png")


@pytest.mark.parametrize("name", sorted({*readable_formats()} - {"PSD"}))  # which Pillow does not write
def test_raster_formats_are_read_whatever_the_extension(name: str) -> None:
    Image.new("RGB", (16, 16)).save("photo.jpg", name)
    assert open_image("photo.jpg").size == (16, 16)


def test_pickles_in_a_run_folder_are_not_read() -> None:
    """A file of maps can contain a pickle, and so can the metadata of a Parquet file (CVE-2023-47248)."""
    finished = run(Path("run"), Speckles(2), methods="grad-cam", maps=True)
    content = pickle.dumps(Payload())
    np.savez(finished.path / "maps" / f"{SHARD}.npz", payload=np.array([Payload()], dtype=object))
    rows = finished.path / "rows" / f"{SHARD}.parquet"
    table = pq.read_table(rows)
    extension = {"ARROW:extension:name": "arrow.py_extension_type", "ARROW:extension:metadata": content}
    fields = [field.with_metadata(extension) for field in table.schema]
    pq.write_table(table.cast(pa.schema(fields, table.schema.metadata)), rows)
    checksums = finished.path / "checksums" / f"{SHARD}.sha256"
    files = decode_checksums(checksums.read_text())
    changed = {
        name: checksum((finished.path / name).read_bytes()) for name in files if name.endswith(("npz", "parquet"))
    }
    checksums.write_text(encode_checksums(files | changed))

    assert len(xai.Run.read("run").rows()) == len(finished)
    assert summarize(xai.Run.read("run")).images == 2
    run(Path("run"), Speckles(2), methods="grad-cam", maps=True)
    with pytest.raises(ValueError, match="allow_pickle=False"), np.load(Path("run", "maps", f"{SHARD}.npz")) as maps:
        maps["payload"]
    assert not Path("executed").exists()


def called(path: Path) -> list[tuple[str, str]]:
    """The functions that a file calls or passes on, and all arguments of the calls."""
    nodes = [*ast.walk(ast.parse(path.read_text()))]
    calls = [(ast.unparse(node.func), ast.unparse(node)) for node in nodes if isinstance(node, ast.Call)]
    return calls + [(ast.unparse(node), "") for node in nodes if isinstance(node, ast.Attribute)]


def test_no_file_is_unpickled() -> None:
    paths = [*(ROOT / "xai_core").rglob("*.py"), *(ROOT / "plugins").glob("*/xai_*/**/*.py")]
    calls = [(path, function, call) for path in paths for function, call in called(path)]
    unpickling = re.compile(r"(pickle|cloudpickle|marshal|shelve|dill|joblib|np|numpy)\.(loads?|open|Unpickler)")
    assert {str(path.relative_to(ROOT)) for path, function, _ in calls if unpickling.fullmatch(function)} == UNPICKLING
    loading = [call for _, function, call in calls if function == "torch.load" and call]
    assert loading
    assert all("weights_only=True" in call for call in loading)
    arrays = [call for _, function, call in calls if function == "np.load" and call]
    assert arrays
    assert all("allow_pickle=False" in call for call in arrays)


@pytest.mark.parametrize("text", ["=1+1", "+1+1", "-1+1", "@SUM(1)", '=HYPERLINK("https://x")', "\n=1+1"])
def test_no_cell_of_a_spreadsheet_is_a_formula(text: str) -> None:
    table = TextTable("", (text, "mean"), [(text, "-0.5")])
    for written in (comma_separated(table), csv_text([text, "mean"], [(text, -0.5)])):
        assert [*csv.reader(io.StringIO(written))] == [[f"'{text}", "mean"], [f"'{text}", "-0.5"]]


def test_ordinary_cells_are_written_as_they_are() -> None:
    cells = ["a-b", "grad-cam:layer=x", "-1e-05", "+3", "", "é", 'a "b", c', "two\nlines", -0.5, None]
    [row] = csv.reader(io.StringIO(csv_text(["name"], [cells]).partition("\n")[2]))
    assert row == ["" if cell is None else str(cell) for cell in cells]


@pytest.mark.parametrize("format", ["table", "markdown", "latex", "csv"])
def test_names_do_not_control_the_terminal(format: str) -> None:
    model = xai.LoadedModel(xai.load_model("shapes-vit").model, lambda image: image, spec="a\x1b]0;b\x07\u202e")
    run(Path("run"), Speckles(2, 64), methods="center", models=model, metrics="complexity")
    report = Did("report", "run", "--format", format)
    assert report.code == 0, report.err
    assert "x1b" in report.out
    assert not {"\x1b", "\x07", "\u202e"} & set(report.out)


@pytest.mark.parametrize("value", ["__import__('pathlib').Path('executed').touch()", "{{7*7}}", "$(touch executed)"])
def test_a_spec_is_never_evaluated(value: str) -> None:
    assert parse(f'a:b="{value}"').options == {"b": value}
    with pytest.raises(XAIError):
        xai.create_explainer(f'grad-cam:"{value}"')
    with pytest.raises(XAIError):
        xai.load_dataset(f'folder:"{value}"')
    assert not Path("executed").exists()


def test_pickles_of_cifar10_that_are_not_the_original_are_not_read() -> None:
    batches = Path("cifar-10-batches-py")
    batches.mkdir()
    for name in ("test_batch", "batches.meta", *(f"data_batch_{number}" for number in range(1, 6))):
        (batches / name).write_bytes(pickle.dumps(Payload()))
    with pytest.raises(FileError, match="does not contain all of CIFAR-10"):
        xai.load_dataset("cifar10:.")
    assert not Path("executed").exists()
