"""Data sets of Hugging Face's `datasets`."""

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
    """Rows of a data set of `datasets` as samples; each image is decoded when it is asked for. An id is the row."""

    where: str
    image: str
    label: str | None
    class_names: Sequence[str] | None
    _given: Any

    def __len__(self) -> int:
        return len(self._given)

    def __getitem__(self, index: int, /) -> xai.Sample:
        index = range(len(self))[index]
        row = self._given[index]
        stored, target = row[self.image], None if self.label is None else row[self.label]
        if stored is None or (stored["bytes"] is None and stored["path"] is None):
            raise ImageFileError(f"row {index} of {self.where} has no image")
        if stored["bytes"] is None:
            image = open_image(stored["path"])
        else:
            image = decode_image(io.BytesIO(stored["bytes"]), f"row {index} of {self.where}").image
        return xai.Sample(image, str(index), None if target is None or target < 0 else target)


class HuggingFace(DatasetSource):
    """A data set of Hugging Face's hub or of this machine: `hf:uoft-cs/cifar10,split=test,image=img`, `hf:FOLDER`.

    A folder holds what `save_to_disk` wrote, Parquet files, or anything else that `datasets.load_dataset` takes; a
    Parquet file by itself does too. It needs `pip install 'xai-zoo[hf]'`.

    Options: `split` (needed where there is more than one), `image` and `label`, the columns (`image`, `label`;
    `label=none` where there are no classes), and `config`, where a data set has several. A negative label is no class.
    """

    name = "hf"

    def load(  # type: ignore[override] # the registry refuses other options
        self,
        name: str | None,
        path: str | Path | None = None,
        split: str | None = None,
        image: str = "image",
        label: str | None = "label",
        config: str | None = None,
    ) -> HuggingFaceDataset:
        if name is None and path is None:
            raise OptionError("hf: no dataset is given; expected `hf:NAME` or `hf:FOLDER`")
        try:
            import datasets
        except ImportError as error:
            raise MissingDependencyError("hf needs the package `datasets`: `pip install 'xai-zoo[hf]'`") from error
        where = str(path or name)
        given = _open(where, split, config)
        for option, column in (("image", image), ("label", label)):
            if column is not None and column not in given.column_names:
                raise OptionError(
                    f"hf: {option}={column} is no column of {where}; {suggest(column, given.column_names)}"
                )
        features = given.features
        if label is not None and not str(getattr(features[label], "dtype", "")).startswith(("int", "uint")):
            raise OptionError(
                f"hf: the column {label} of {where} holds {features[label]}; expected class ids, as"
                " `class_encode_column` of `datasets` makes them, or label=none"
            )
        try:
            given = given.select_columns([image] if label is None else [image, label])
            given = given.cast_column(image, datasets.Image(decode=False))
        except Exception as error:  # whatever Arrow says of types that do not fit
            raise OptionError(f"hf: the column {image} of {where} holds {features[image]}; expected images") from error
        names = getattr(features[label], "names", None) if label is not None else None
        return HuggingFaceDataset(where, image, label, names, given)


def _open(where: str, split: str | None, config: str | None) -> Any:
    """Open one split."""
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
    except Exception as error:  # of the network, the hub, the files
        reason = " ".join(str(error).split())
        raise UnknownDatasetError(
            f"`datasets` cannot open {where} ({reason}); expected a data set of the hub, or a folder or file of this"
            " machine"
        ) from error


def _require_its_own(where: str, split: str | None, saved: object) -> None:
    if split is not None and split != str(saved):
        there = "no splits" if saved is None else f"the split {saved} alone"
        raise OptionError(f"hf: {where} was saved with {there}; leave split={split} out")


def _chosen(where: str, split: str | None, splits: Sequence[str]) -> str:
    if split is None and len(splits) == 1:
        return splits[0]
    if split is None or split not in splits:
        given = "no split is given" if split is None else f"split={split} is none of its splits"
        raise OptionError(f"hf: {given}; {where} has {', '.join(splits)}")
    return split
