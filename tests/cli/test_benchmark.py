"""`xai benchmark` and `xai report`, on a small trained model and pictures whose truth is known."""

import csv
import html
import io
import json
import re
import shlex
import sys
from pathlib import Path

import pytest
from PIL import Image

import xai_core as xai
from support.command_line import Did
from xai_core.data.images import open_image

METHODS, METRICS = "grad-cam,eigen-cam,hires-cam", "deletion:steps=4,insertion:steps=4"
GIVEN = [
    "--model",
    "shapes-cbam",
    "--data",
    "shapes:split=test",
    "--limit",
    "6",
    "--no-controls",
    "--device",
    "cpu",
    "--in-process",
]
SAID = """
models = "shapes-cbam"
data = "shapes:split=test"
methods = ["grad-cam", "eigen-cam", "hires-cam"]
metrics = ["deletion:steps=4", "insertion:steps=4"]
limit = 6
controls = false
device = "cpu"
in_process = true
"""


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Did]:
    out = tmp_path_factory.mktemp("benchmark") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("xai_core.cli.console.INTERVAL", 1e9)  # no progress, however slow the machine is
        return out, Did("benchmark", *GIVEN, "--method", METHODS, "--metric", METRICS, "--out", out)


def test_it_scores_and_says_what_holds(ran: tuple[Path, Did]) -> None:
    out, did = ran
    assert did.code == 0, did.err
    assert did.err == ""  # no bar where there is no terminal
    assert "shapes-cbam: insertion:steps=4 (higher is better), 6 images" in did.out
    assert "Undecided on these 6 images: " in " ".join(did.out.split())
    assert f"Saved 1 shard in {out}." in did.out
    assert xai.Run.read(out).rows().num_rows == 6 * 3 * 2


def test_the_same_command_goes_on(ran: tuple[Path, Did]) -> None:
    out, did = ran
    again = Did("benchmark", *GIVEN, "--method", METHODS, "--metric", METRICS, "--out", out)
    assert again.code == 0
    assert again.out == f"Resuming: 1 of 1 shards are finished in {out}.\n{did.out}"
    other = Did("benchmark", *GIVEN, "--method", METHODS, "--metric", METRICS, "--out", out, "--batch", 3)
    assert other.code == 2
    assert "contains a run with another manifest (batch: 8, now 3); pass another --out" in other.err


def test_a_file_says_the_same(ran: tuple[Path, Did], tmp_path: Path) -> None:
    out, _ = ran
    file = tmp_path / "settings.toml"
    file.write_text(SAID)
    did = Did("benchmark", file, "--out", out)
    assert did.code == 0, did.err
    assert did.out.startswith("Resuming: 1 of 1 shards")
    over = Did("benchmark", file, "--limit", 5, "--out", out)
    assert "images: 6, now 5" in over.err
    file.write_text(f"{SAID}out = {str(out)!r}\nbackend = 'local'\nworkers = 1\n")
    assert Did("benchmark", file).out == did.out


def test_quotes_and_lists_on_the_command_line_and_in_a_file(tmp_path: Path) -> None:
    folder, out = tmp_path / "a,b=(c", tmp_path / "run"
    folder.mkdir()
    Image.new("RGB", (64, 64), "red").save(folder / "a.png")
    data = f'folder:"{folder}"'
    shared = ["--model", "shapes-cbam", "--no-controls", "--device", "cpu", "--out", out]
    did = Did("benchmark", *shared, "--data", data, "--method", "center,sigma=0.5,edges", "--metric", "complexity")
    assert did.code == 0, did.err
    assert set(xai.Run.read(out).rows()["method"].to_pylist()) == {"center:sigma=0.5", "edges"}
    file = tmp_path / "settings.toml"
    file.write_text(f"data = {data!r}\nmethods = 'center,sigma=0.5, edges'\nmetrics = 'complexity'")
    again = Did("benchmark", file, *shared, "--in-process")
    assert again.out.startswith("Resuming: 1 of 1 shards"), again.err


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("methid = 'grad-cam'", "has no setting 'methid'; did you mean 'methods'"),
        ("models = ", "is not a TOML file"),
        ("models = 'shapes-cbam'", "missing --data; pass the option, or set 'data' in a TOML file"),
        ("models = 'shapes-cbam'\ndata = 'shapes'\nmethods = 3\nmetrics = 'deletion'", "methods: expected a spec"),
        ("models = 'shapes-cbam'\ndata = 'shapes'\nmetrics = 'deletion'\nbackend = 'spark'", "backend='spark'"),
        ("models = 'shapes-cbam'\ndata = 'shapes'\nmetrics = 'deletion'\nworkers = 'two'", "workers='two'"),
        ("models = 'shapes-cbam'\ndata = 'shapes'", "no metrics to benchmark"),
        ("models = 'shapes-cbam'\ndata = 'shapes'\nmetrics = 'deletion'\nlimit = 'ten'", "limit='ten'"),
    ],
)
def test_files_that_are_wrong_are_one_line(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "settings.toml"
    file.write_text(text)
    did = Did("benchmark", file, "--out", tmp_path / "run")
    assert did.code == 2
    assert said in did.err
    assert did.err.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_what_fails_is_counted_and_the_exit_code_says_so(tmp_path: Path) -> None:
    given = ["--method", "grad-cam,rollout", "--metric", "deletion:steps=2", "--out", tmp_path / "run"]
    did = Did("benchmark", *GIVEN, *given)
    assert did.code == 1
    assert "6 of 12 rows contain an error" in did.err
    assert "`rollout` has no score: " in did.out
    assert Did("report", tmp_path / "run").code == 0
    again = Did("benchmark", *GIVEN, *given, "--retry-errors")
    assert again.code == 1
    assert "Resuming" not in again.out  # its one part is done again


def test_a_folder_is_asked_for() -> None:
    did = Did("benchmark", *GIVEN, "--metric", "deletion")
    assert did.code == 2
    assert "missing --out; pass the option, or set 'out' in a TOML file" in did.err


def test_reports_in_every_format(ran: tuple[Path, Did], tmp_path: Path) -> None:
    out, did = ran
    table = Did("report", out).out
    assert did.out.startswith(table)
    assert "supported" in Did("report", out, "--pairs").out
    assert "Costs per image" in Did("report", out, "--costs").out
    rows = list(csv.DictReader(io.StringIO(Did("report", out, "--format", "csv").out)))
    said = json.loads(Did("report", out, "--format", "json").out)
    assert len(rows) == 6
    found = xai.Run.read(out).rows().to_pylist()
    for row in rows:
        scores = [one["score"] for one in found if (one["method"], one["metric"]) == (row["method"], row["metric"])]
        assert float(row["mean"]) == pytest.approx(sum(scores) / 6)
        [comparison] = [one for one in said["comparisons"] if one["metric"] == row["metric"]]
        [standing] = [one for one in comparison["standings"] if one["method"] == row["method"]]
        assert standing["estimate"]["mean"] == float(row["mean"])
        assert float(row["low"]) < float(row["mean"]) < float(row["high"])
    assert len(said["comparisons"][0]["pairs"]) == 3
    markdown = Did("report", out, "--format", "markdown").out
    assert markdown.count("| method | mean | 95 % interval | rank | mean rank | failed |") == 2
    latex = Did("report", out, "--format", "latex").out
    assert latex.count(r"\toprule") == latex.count(r"\end{tabular}") == 3
    assert r"95 \% interval" in latex
    pictures = tmp_path / "pictures"
    drawn = Did("report", out, "--figures", pictures, "--format", "json")
    assert drawn.err == f"Wrote 2 diagrams to {pictures}.\n"
    assert json.loads(drawn.out) == said
    picture = pictures / "shapes-cbam.deletion-steps=4.png"
    assert open_image(picture).width > 500
    picture.write_text("mine")
    refused = Did("report", out, "--figures", pictures)
    assert (refused.code, refused.out) == (2, "")
    assert "and 1 more would be overwritten; choose another --figures, or add --overwrite" in refused.err
    assert picture.read_text() == "mine"
    assert Did("report", out, "--figures", pictures, "--overwrite").code == 0
    assert open_image(picture).width > 500


def test_a_page_shows_the_command_of_its_run(ran: tuple[Path, Did], tmp_path: Path) -> None:
    out, _ = ran
    did = Did("report", out, "--page", "--out", tmp_path / "page")
    index = tmp_path / "page" / "index.html"
    assert did.err == f"Wrote the page {index}.\n"
    [command] = re.findall(r'<pre class="command">(.*?)</pre>', index.read_text())
    again = Did(*shlex.split(html.unescape(command))[1:-1], out, "--in-process")
    assert again.out.startswith("Resuming: 1 of 1 shards"), again.err
    index.write_text("mine")
    refused = Did("report", out, "--page", "--out", tmp_path / "page")
    assert refused.code == 2
    assert "would be overwritten" in refused.err
    assert Did("report", out, "--out", tmp_path / "page").code == 2


def test_a_report_of_nothing(tmp_path: Path) -> None:
    did = Did("report", tmp_path)
    assert did.code == 2
    assert "contains no run" in did.err


def test_an_interrupted_run_says_how_to_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(**given: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(sys.modules["xai_core.cli.actions.benchmark"], "benchmark", interrupted)
    did = Did("benchmark", *GIVEN, "--method", METHODS, "--metric", METRICS, "--out", tmp_path / "run")
    assert did.code == 130
    assert f"Repeat the same command to resume the run in {tmp_path / 'run'}." in did.err
