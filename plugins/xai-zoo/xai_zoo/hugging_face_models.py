"""Models of the library transformers, from a local folder."""

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

import xai_core as xai
from xai_core.plugin import (
    CheckpointError,
    FileError,
    MissingDependencyError,
    ModelSource,
    OptionError,
    Spec,
    UnknownModelError,
    UnsuitableError,
    Value,
    is_file,
    is_folder,
)
from xai_zoo.image_options import ImageOptions
from xai_zoo.preprocess import Preprocess, Restore
from xai_zoo.torch_file import require_unpacked_size

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import nn

_CONFIG = "config.json"
_PROCESSOR, _PROCESSORS = "preprocessor_config.json", ("preprocessor_config.json", "processor_config.json")
_KINDS = {"architectures": list, "num_channels": int, "id2label": dict}
"""The classes of settings that transformers does not check."""
_FORM = "expected a folder that `model.save_pretrained(FOLDER)` and `processor.save_pretrained(FOLDER)` wrote"


class HuggingFaceModels(ModelSource):
    """Image models of transformers from a local folder: `hf:FOLDER`, `hf:FOLDER,size=384`.

    The folder contains `config.json`, the weights, and `preprocessor_config.json`. Nothing is downloaded, and code in
    the folder never runs. The class of the model is the architecture in `config.json`. It also contains the class
    names. This source requires `pip install transformers`.

    Options: `size`, `mean` and `std` replace the settings of the image processor. A folder without a processor requires
    all three. A model that compares images with texts, such as CLIP, also requires its tokenizer in the folder.
    """

    name = "hf"

    def load(  # type: ignore[override] # the registry rejects other options
        self, name: str | None, size: Value = None, mean: Value = None, std: Value = None
    ) -> xai.LoadedModel:
        folder = _folder(name)
        images = ImageOptions.read(size, mean, std)
        with _offline():
            config = _config(folder)
            model = _model(folder, config)
            preprocess, restore = _preprocessing(folder, images, int(getattr(config, "num_channels", 3) or 3))
            tokenizer = _tokenizer(folder) if _compares_texts(model) else None
        return xai.LoadedModel(
            model=model.eval(),
            preprocess=preprocess,
            class_names=_class_names(config),
            restore=restore,
            spec=str(Spec(self.name, name, images.as_written())),
            tokenizer=tokenizer,
        )


def _folder(name: str | None) -> Path:
    if name is None:
        raise UnknownModelError(
            f"hf: the folder is missing; expected `hf:FOLDER`, with {_FORM.removeprefix('expected ')}"
        )
    folder = Path(name).expanduser()
    if not is_folder(folder):
        raise UnknownModelError(f"the folder {folder} does not exist; {_FORM}. Models of the hub are not downloaded")
    if not is_file(folder / _CONFIG):
        raise FileError(f"{folder} contains no {_CONFIG}; {_FORM}")
    return folder.absolute()


@contextlib.contextmanager
def _offline() -> Iterator[None]:
    """Prevent downloads, also those that a configuration requests, and hide progress bars."""
    try:
        from huggingface_hub import constants
        from transformers.utils import logging
    except ImportError as error:
        raise MissingDependencyError("hf needs the package `transformers`: `pip install transformers`") from error
    before, bars = constants.HF_HUB_OFFLINE, logging.is_progress_bar_enabled()
    constants.HF_HUB_OFFLINE = True
    logging.disable_progress_bar()
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before
        if bars:
            logging.enable_progress_bar()


def _config(folder: Path) -> Any:
    import transformers

    try:
        config = transformers.AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    except Exception as error:  # transformers raises errors of many classes
        raise CheckpointError(f"{folder / _CONFIG} cannot be read ({_line(error)}); {_FORM}") from error
    for name, kind in _KINDS.items():
        value = getattr(config, name, None)
        if value is not None and not isinstance(value, kind):
            raise CheckpointError(f"{folder / _CONFIG}: {name} must be a {kind.__name__}, got {value!r}; {_FORM}")
    parts: list[Any] = [config, getattr(config, "backbone_config", None)]
    for each in parts:
        if getattr(each, "use_pretrained_backbone", False):
            each.use_pretrained_backbone = False  # the weights of the backbone are in the folder too
    return config


def _model(folder: Path, config: Any) -> "nn.Module":
    """Return the model of the architecture that the configuration names, with all weights from the folder."""
    import transformers

    _require_unpacked_sizes(folder)
    names = getattr(config, "architectures", None) or ["AutoModelForImageClassification"]
    architecture = getattr(transformers, str(names[0]), None)
    if architecture is None:
        raise CheckpointError(
            f"transformers {transformers.__version__} has no architecture {names[0]!r}, which {folder / _CONFIG} names;"
            " update transformers, or load the model with your own function, such as `mine.py:build`"
        )
    takes_images = getattr(architecture, "main_input_name", "pixel_values") == "pixel_values"
    if not takes_images and not _compares_texts(architecture):
        raise UnsuitableError(f"{names[0]} in {folder} does not take images; expected an image model")
    try:
        model, info = architecture.from_pretrained(
            folder,
            config=config,
            local_files_only=True,
            trust_remote_code=False,
            output_loading_info=True,
            use_safetensors=True if [*folder.glob("*.safetensors")] else None,
            weights_only=True,
        )
    except Exception as error:  # transformers raises errors of many classes
        raise CheckpointError(f"the weights in {folder} cannot be loaded ({_line(error)}); {_FORM}") from error
    problems = {kind: [*info.get(f"{kind}_keys", ())] for kind in ("missing", "mismatched")}
    if any(problems.values()):
        listed = "; ".join(f"{kind}: {', '.join(map(str, keys[:3]))}" for kind, keys in problems.items() if keys)
        raise CheckpointError(f"the weights in {folder} do not match {names[0]}. {listed}")
    loaded: nn.Module = model
    return loaded


def _compares_texts(model: Any) -> bool:
    return hasattr(model, "get_image_features") and hasattr(model, "get_text_features")


def _tokenizer(folder: Path) -> Any:
    import transformers

    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        names = dict(tokenizer.vocab_files_names)
        single = names.pop("tokenizer_file", None)
        missing = [name for name in names.values() if not is_file(folder / name)]
        if not (single and is_file(folder / single)) and (missing or not names):
            raise ValueError(f"{single or 'its vocabulary'} is missing")  # transformers uses an empty vocabulary
        return tokenizer
    except Exception as error:  # transformers raises errors of many classes
        raise CheckpointError(
            f"the tokenizer in {folder} cannot be loaded ({_line(error)}); the model compares images with texts, so "
            "expected a folder that `tokenizer.save_pretrained(FOLDER)` wrote too"
        ) from error


def _require_unpacked_sizes(folder: Path) -> None:
    """Require that no file of pickled weights fills the memory. An index lists files with any names."""
    listed = {folder / name for index in folder.glob("*.index.json") for name in _shards(index)}
    pickled = {file for file in listed if file.suffix != ".safetensors" and file.exists()}
    for file in sorted({*folder.glob("*.bin"), *pickled}):
        try:
            require_unpacked_size(file)
        except CheckpointError:
            raise
        except Exception as error:  # for damaged files, zipfile raises errors of many classes
            raise CheckpointError(f"{file} cannot be read ({_line(error)}); {_FORM}") from error


def _shards(index: Path) -> set[str]:
    """Return the names of the files that an index of weights lists."""
    try:
        return set(map(str, json.loads(index.read_bytes())["weight_map"].values()))
    except (ValueError, TypeError, AttributeError, LookupError, OSError, RecursionError) as error:
        raise CheckpointError(f"{index} cannot be read ({_line(error)}); {_FORM}") from error


def _preprocessing(folder: Path, images: ImageOptions, channels: int) -> tuple[Preprocess, Restore]:
    """Return the preprocessing of the folder's image processor, or that of the options if there is no processor."""
    import transformers

    if not any(is_file(folder / name) for name in _PROCESSORS):
        if None in (images.size, images.mean, images.std):
            example = "size=224,mean=0.5,std=0.5"
            raise OptionError(f"{folder} contains no {_PROCESSOR}; set size=, mean= and std=, such as {example}")
        return images.transform(channels)
    try:
        processor = transformers.AutoImageProcessor.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
        mean, std = images.normalization(*_normalization(processor, channels))
        options = _sizes(processor, images)
        if images.mean or images.std:
            options |= {"do_normalize": True, "image_mean": [*mean], "image_std": [*std]}
        preprocess = Preprocess(_Processor(processor, options))
        converted = preprocess(torch.zeros(3, 64, 96))
        if converted.ndim != 3 or not converted.isfinite().all():
            raise ValueError(f"it converts an image to {list(converted.shape)}, or to values that are not finite")
    except OptionError:
        raise
    except Exception as error:  # transformers raises errors of many classes
        raise CheckpointError(f"{folder / _PROCESSOR} cannot be used ({_line(error)}); {_FORM}") from error
    if images.size is not None and converted.shape[1:] != images.size:
        raise OptionError(f"hf: the image processor of {folder} does not support size={images.as_written()['size']}")
    return preprocess, Restore(mean, std)


def _normalization(processor: Any, channels: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the mean and standard deviation of a processor, which are 0 and 1 if it does not normalize."""
    if not getattr(processor, "do_normalize", False):
        return (0.0,) * channels, (1.0,) * channels
    return tuple(processor.image_mean), tuple(processor.image_std)


def _sizes(processor: Any, images: ImageOptions) -> dict[str, Any]:
    """Return the options of a processor for the image size that the user chose."""
    if images.size is None:
        return {}
    height, width = images.size
    exact = {"height": height, "width": width}
    by_shorter_side = "shortest_edge" in _sides(processor.size)
    if not getattr(processor, "do_center_crop", False):
        return {"do_resize": True, "size": {"shortest_edge": min(height, width)} if by_shorter_side else exact}
    if not by_shorter_side or height != width:
        return {"do_resize": True, "size": exact, "crop_size": exact}
    resize, crop = (min(_sides(size).values()) for size in (processor.size, processor.crop_size))
    return {"do_resize": True, "size": {"shortest_edge": round(height * resize / crop)}, "crop_size": exact}


def _sides(size: Any) -> dict[str, int]:
    return {name: value for name, value in dict(size or {}).items() if value}


@dataclass(frozen=True)
class _Processor:
    """Calls an image processor with one image, a PIL image or a tensor [C,H,W] in [0,1]."""

    processor: Any
    options: Mapping[str, Any]

    def __call__(self, image: "Image | Tensor") -> Tensor:
        options = dict(self.options)
        if isinstance(image, Tensor):
            image, options["input_data_format"] = 255 * image, "channels_first"
        try:
            pixels: Tensor = self.processor(images=image, return_tensors="pt", **options)["pixel_values"][0]
        except Exception as error:  # transformers raises errors of many classes
            raise CheckpointError(f"the image processor of the model rejects an image ({_line(error)})") from error
        return pixels.to(torch.float32)


def _class_names(config: Any) -> list[str] | None:
    """Return the class names, or None if the configuration contains placeholders such as `LABEL_0`."""
    by_id = getattr(config, "id2label", None) or {}
    names = [by_id.get(class_id) for class_id in range(len(by_id))]
    if not names or None in names or all(name == f"LABEL_{class_id}" for class_id, name in enumerate(names)):
        return None
    return [str(name) for name in names]


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
