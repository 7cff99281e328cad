"""The page of a run: an HTML file, with its figures, LaTeX tables and references as files next to it."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import jinja2
from markupsafe import Markup, escape

from xai_core.benchmarking.command import command_of
from xai_core.benchmarking.comparison import MethodComparison
from xai_core.benchmarking.disagreement import Disagreement, disagreements
from xai_core.benchmarking.summary import Summary
from xai_core.files import distinct
from xai_core.report.controls import contenders, labeled
from xai_core.report.figures.files import vector_files
from xai_core.report.figures.styles import method_styles
from xai_core.report.references import bibtex, find_references, names_in
from xai_core.report.run_figures import PageFigure, Photos, comparison_figures, disagreement_figure, model_figures
from xai_core.report.summary_tables import agreement_tables, cost_table, error_tables, method_table, pair_table
from xai_core.report.tables import TextTable, latex
from xai_core.report.verdict import verdict

INDEX = "index.html"


@dataclass(frozen=True)
class ShownFigure:
    """A figure as the page shows it: the path of its files without the extension, its kind and its caption."""

    path: str
    kind: str
    caption: str


@dataclass(frozen=True)
class ComparisonPart:
    """The part of the page on a model and a metric. `maps` is None if the run does not save maps."""

    comparison: MethodComparison
    methods: TextTable
    pairs: TextTable
    figures: Sequence[ShownFigure]
    disagreement: TextTable | None
    maps: ShownFigure | None


@dataclass(frozen=True)
class ModelPart:
    """The part of the page on a model."""

    model: str
    verdict: Sequence[str]
    comparisons: Sequence[ComparisonPart]
    figures: Sequence[ShownFigure]


class RunPage:
    """Collects the files of a run's page.

    Attributes
    ----------
    files
        Contents of the files by their paths in the folder of the page.
    """

    def __init__(self, summary: Summary, photos: Photos) -> None:
        self._summary, self._photos = summary, photos
        self.files: dict[str, bytes | str] = {}
        names = distinct(f"{each.model}.{each.metric}" for each in summary.comparisons)
        parts = [self._model(model.spec, names) for model in summary.run.manifest.models]
        self._write_tables(names)
        self.files[INDEX] = self._html(parts)

    def _model(self, model: str, names: Sequence[str]) -> ModelPart:
        named = [
            (name, each) for name, each in zip(names, self._summary.comparisons, strict=True) if each.model == model
        ]
        comparisons = [comparison for _, comparison in named]
        styles = method_styles(comparisons)
        parts = []
        for name, comparison in named:
            figures = [self._draw(name, figure) for figure in comparison_figures(self._summary, comparison, styles)]
            methods = [standing.method for standing in contenders(comparison)]
            images = disagreements(self._summary.run, comparison, methods)
            maps = disagreement_figure(self._summary, comparison, images, self._photos)
            table = _disagreement_table(comparison, images) if images else None
            shown = self._draw(name, maps) if maps else None
            parts.append(
                ComparisonPart(comparison, method_table(comparison), pair_table(comparison), figures, table, shown)
            )
        [name] = distinct([model])
        figures = [self._draw(name, figure) for figure in model_figures(self._summary, model, styles)]
        return ModelPart(model, verdict(comparisons), parts, figures)

    def _draw(self, name: str, figure: PageFigure) -> ShownFigure:
        path = f"figures/{name}.{figure.kind}"
        for kind, content in vector_files(figure.draw()):
            self.files[f"{path}.{kind}"] = content
        return ShownFigure(path, figure.kind, figure.caption)

    def _write_tables(self, names: Sequence[str]) -> None:
        for name, comparison in zip(names, self._summary.comparisons, strict=True):
            self.files[f"tables/{name}.tex"] = latex([method_table(comparison)])
            if comparison.pairs:
                self.files[f"tables/{name}.pairs.tex"] = latex([pair_table(comparison)])
        for table in self._agreements:
            self.files["tables/agreement.tex"] = latex([table])
        if self._summary.costs:
            self.files["tables/costs.tex"] = latex([cost_table(self._summary)])

    def _html(self, parts: Sequence[ModelPart]) -> str:
        manifest = self._summary.run.manifest
        methods = (method for model in manifest.models for method in model.methods)
        references = find_references(names_in([*methods, *manifest.metrics]))
        self.files["references.bib"] = bibtex(references)
        loader = jinja2.PackageLoader("xai_core.report", ".")
        page = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
        page.filters.update(code=_code, number=_number)
        return page.get_template("run_page.html.j2").render(
            summary=self._summary,
            manifest=manifest,
            parts=parts,
            agreements=self._agreements,
            costs=cost_table(self._summary) if self._summary.costs else None,
            problems=[*error_tables(self._summary)],
            references=references,
            command=command_of(manifest, "run"),
            tables=sorted(path for path in self.files if path.endswith(".tex")),
        )

    @property
    def _agreements(self) -> list[TextTable]:
        return [*agreement_tables(self._summary)]


def _disagreement_table(comparison: MethodComparison, images: Sequence[Disagreement]) -> TextTable:
    def cells(each: Disagreement) -> Iterator[str]:
        (best, highest), *_, (worst, lowest) = each.scores.items()
        yield from (each.image, labeled(best), f"{highest:.4f}", labeled(worst), f"{lowest:.4f}", f"{each.range:.4f}")

    return TextTable(
        f"{comparison.model}: {comparison.metric}, images on which methods disagree most",
        ("image", "best method", "score", "worst method", "its score", "range"),
        [tuple(cells(each)) for each in images],
        frozenset({"score", "its score", "range"}),
        ["The range is the largest minus the smallest score of an image, over all methods except the controls."],
    )


def _code(text: str) -> Markup:
    """Return HTML in which text between backticks is code."""
    parts = re.split(r"`([^`]+)`", text)
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if i % 2 else escape(part) for i, part in enumerate(parts)
    )


def _number(text: str) -> str:
    """Replace hyphens before digits by minus signs."""
    return re.sub(r"-(?=\d)", "\N{MINUS SIGN}", text)
