"""Implements `xai report --page`: the page of a benchmark run."""

from pathlib import Path

from PIL.Image import Image
from torch import Tensor

from xai_core.benchmarking.store import Run
from xai_core.benchmarking.summary import Summary, summarize
from xai_core.cli.console import complain
from xai_core.data.pairs import as_dataset
from xai_core.errors import XAIError
from xai_core.plugins.creation import load_dataset
from xai_core.report.page_files import write_page
from xai_core.report.run_figures import Photos
from xai_core.report.run_page import INDEX, RunPage
from xai_core.visualization.photos import as_photo


def write_report_page(run: Path, folder: Path | None, overwrite: bool) -> None:
    """Write the page of a run to a folder, by default `report` in the folder of the run."""
    summary, folder = summarize(Run.read(run)), folder or run / "report"
    page = RunPage(summary, _photos(summary))
    write_page(folder, page.files, overwrite)
    complain(f"Wrote the page {folder / INDEX}.", style="none")


def _photos(summary: Summary) -> Photos:
    """Return a function that reads images of the run's dataset. The dataset is opened at the first call."""

    def photo(index: int) -> Image | None:
        try:
            image = as_dataset(load_dataset(summary.run.manifest.data))[index].image
            if isinstance(image, Tensor) and image.ndim == 4:  # a volume
                image = image[:, image.shape[1] // 2]
            return as_photo(image)
        except XAIError:
            return None

    return photo
