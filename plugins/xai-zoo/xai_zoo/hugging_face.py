"""Datasets of the Hugging Face library `datasets`."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import xai_core as xai
from xai_core.plugin import (
    DatasetSource,
    ImageFileError,
    MissingDependencyError,
    OptionError,
    UnknownDatasetError,
    decode_image,
    open_image,
    suggest,
)


@dataclass(frozen=True, eq=False)
class HuggingFaceDataset:
    """Samples of a Hugging Face dataset. Images are decoded on access, and the id is the row number."""

    where: str
    image: str
    label: str | None
    class_names: Sequence[str] | None
    _given: Any

    def __len__(self) -> int:
        return len(self._given)

    def __getitem__(self, index: int, /) -> xai.Sample:
        index = range(len(self))[index]
        try:
            row = self._given[index]
        except Exception as error:  # Arrow raises errors of several classes
            raise ImageFileError(f"row {index} of {self.where} cannot be read ({error})") from error
        stored, target = row[self.image], None if self.label is None else row[self.label]
        if stored is None or (stored["bytes"] is None and stored["path"] is None):
            raise ImageFileError(f"row {index} of {self.where} has no image")
        if stored["bytes"] is None:
            image = open_image(stored["path"])
        else:
            image = decode_image(io.BytesIO(stored["bytes"]), f"row {index} of {self.where}").image
        return xai.Sample(image, str(index), None if target is None or target < 0 else target)


class HuggingFace(DatasetSource):
    """Dataset of the Hugging Face hub or a local folder: `hf:uoft-cs/cifar10,split=test,image=img`, `hf:FOLDER`.

    A folder contains the output of `save_to_disk`, Parquet files, or other files that `datasets.load_dataset` supports.
    A single Parquet file is accepted too. This source requires `pip install 'xai-zoo[hf]'`.

    Options: `split` is required if the dataset has several splits. `image` and `label` are the columns (default:
    `image` and `label`). `label=none` selects no labels. `config` is required if the dataset has several
    configurations. A negative label means that the image has no label.
    """

    name = "hf"

    def load(  # type: ignore[override] # the registry rejects other options
        self,
        name: str | None,
        path: str | Path | None = None,
        split: str | None = None,
        image: str = "image",
        label: str | None = "label",
        config: str | None = None,
    ) -> HuggingFaceDataset:
        if name is None and path is None:
            raise OptionError("hf: the dataset is missing; expected `hf:NAME` or `hf:FOLDER`")
        try:
            import datasets
        except ImportError as error:
            raise MissingDependencyError("hf needs the package `datasets`: `pip install 'xai-zoo[hf]'`") from error
        where = str(path or name)
        given = _open(where, split, config)
        for option, column in (("image", image), ("label", label)):
            if column is not None and column not in given.column_names:
                raise OptionError(
                    f"hf: {option}={column!r} is not a column of {where}; {suggest(column, given.column_names)}"
                )
        features = given.features
        if label is not None and not str(getattr(features[label], "dtype", "")).startswith(("int", "uint")):
            raise OptionError(
                f"hf: the column {label} of {where} contains {features[label]}; expected class ids, which"
                " `class_encode_column` of `datasets` creates, or label=none"
            )
        try:
            given = given.select_columns([image] if label is None else [image, label])
            given = given.cast_column(image, datasets.Image(decode=False))
        except Exception as error:  # Arrow raises errors of several classes
            raise OptionError(
                f"hf: the column {image} of {where} contains {features[image]}; expected images"
            ) from error
        names = getattr(features[label], "names", None) if label is not None else None
        return HuggingFaceDataset(where, image, label, names, given)


def _open(where: str, split: str | None, config: str | None) -> Any:
    """Open one split of a dataset."""
    import datasets

    path = Path(where).expanduser()
    try:
        if (path / "state.json").is_file() or (path / "dataset_dict.json").is_file():
            given = datasets.load_from_disk(path)
            if isinstance(given, datasets.Dataset):
                _require_its_own(where, split, given.split)
                return given
            return given[_chosen(where, split, [str(one) for one in given])]
        options: dict[str, Any] = {"path": str(path) if path.exists() else where, "name": config}
        if path.is_file():
            options = {"path": path.suffix.removeprefix("."), "data_files": str(path)}
        if split is None:
            named = {("config_name" if key == "name" else key): value for key, value in options.items()}
            split = _chosen(where, split, datasets.get_dataset_split_names(**named))
        return datasets.load_dataset(**options, split=split)
    except OptionError:
        raise
    except Exception as error:  # errors of the network, the hub or the files
        reason = " ".join(str(error).split())
        raise UnknownDatasetError(
            f"`datasets` cannot open {where} ({reason}); expected a dataset on the hub, or a local folder or file"
        ) from error


def _require_its_own(where: str, split: str | None, saved: object) -> None:
    if split is not None and split != str(saved):
        content = "no splits" if saved is None else f"the split {saved} only"
        raise OptionError(f"hf: {where} was saved with {content}; remove split={split}")


def _chosen(where: str, split: str | None, splits: Sequence[str]) -> str:
    if split is None and len(splits) == 1:
        return splits[0]
    if split is None or split not in splits:
        problem = "the split is missing" if split is None else f"there is no split {split!r}"
        raise OptionError(f"hf: {problem}; expected one of the splits of {where}: {', '.join(splits)}")
    return split
