"""The options `size`, `mean` and `std` of model sources: how images are converted for a model."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

from xai_core.plugin import OptionError, Value
from xai_zoo.imagenet import MEAN, STD
from xai_zoo.preprocess import Preprocess, Restore, resize_and_crop, to_grayscale

Size = tuple[int, int]
_GRAY = (0.5,)


@dataclass(frozen=True)
class ImageOptions:
    """The image size and the normalization that a user chose. None stands for the default of the model.

    Attributes
    ----------
    size
        Height and width.
    mean, std
        One number per channel, or one for all channels.
    """

    size: Size | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None

    @classmethod
    def read(cls, size: object = None, mean: object = None, std: object = None) -> Self:
        """Check and convert the values of a spec, such as `224`, `224x320` and `0.5+0.5+0.5`.

        Raises
        ------
        OptionError
            If a value has another form, a size is less than 1, or a standard deviation is not positive.
        """
        options = cls(_size(size), _numbers("mean", mean), _numbers("std", std))
        if options.std is not None and min(options.std) <= 0:
            raise OptionError(f"std must be positive, got {std!r}")
        return options

    def as_written(self) -> dict[str, Value]:
        """Return the options that the user chose, as a spec contains them."""
        numbers = {"mean": self.mean, "std": self.std}
        written: dict[str, Value] = {}
        if self.size is not None:
            written["size"] = self.size[0] if self.size[0] == self.size[1] else f"{self.size[0]}x{self.size[1]}"
        for name, values in numbers.items():
            if values is not None:
                written[name] = values[0] if len(values) == 1 else "+".join(map(str, values))
        return written

    def normalization(self, mean: Sequence[float], std: Sequence[float]) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Return the mean and the standard deviation of each channel. The arguments are the defaults of the model.

        Raises
        ------
        OptionError
            If the number of chosen values is neither one nor the number of channels.
        """
        return _per_channel("mean", self.mean, mean), _per_channel("std", self.std, std)

    def transform(self, channels: int, size: Size = (224, 224)) -> tuple[Preprocess, Restore]:
        """Return preprocessing for a model that has none, and the inverse of the normalization.

        Images are resized to cover the size, the center is cropped, and the values are normalized. The default
        normalization is ImageNet's for three channels, and a mean and standard deviation of 0.5 for one channel.

        Raises
        ------
        OptionError
            If the model has neither 1 nor 3 channels, or if `normalization` raises the error.
        """
        if channels not in (1, 3):
            raise OptionError(
                f"images have 1 or 3 channels, but the model takes {channels}; return a LoadedModel with preprocessing"
            )
        mean, std = self.normalization(*((MEAN, STD) if channels == 3 else (_GRAY, _GRAY)))
        size = self.size or size
        transform = resize_and_crop(size, size, mean, std)
        return Preprocess(to_grayscale(transform) if channels == 1 else transform), Restore(mean, std)


def _size(size: object) -> Size | None:
    if size is None:
        return None
    parts: Any = size
    if isinstance(size, str):
        parts = [int(part) if part.strip().isdecimal() else part for part in size.lower().split("x")]
    elif isinstance(size, int):
        parts = [size, size]
    valid = isinstance(parts, list | tuple) and len(parts) == 2
    if not valid or not all(isinstance(part, int) and not isinstance(part, bool) and part >= 1 for part in parts):
        raise OptionError(f"size must be a number of pixels or HEIGHTxWIDTH, such as 224 or 224x320, got {size!r}")
    return parts[0], parts[1]


def _numbers(name: str, value: object) -> tuple[float, ...] | None:
    if value is None:
        return None
    try:
        parts: Any = value.split("+") if isinstance(value, str) else value
        parts = parts if isinstance(parts, list | tuple) else [parts]
        numbers = tuple(float(part) for part in parts)
    except (TypeError, ValueError):
        numbers = ()
    if not numbers or not all(abs(number) < float("inf") for number in numbers) or isinstance(value, bool):
        raise OptionError(f"{name} must be one number, or one per channel, such as 0.5+0.5+0.5, got {value!r}")
    return numbers


def _per_channel(name: str, chosen: tuple[float, ...] | None, default: Sequence[float]) -> tuple[float, ...]:
    if chosen is None:
        return tuple(default)
    if len(chosen) not in (1, len(default)):
        raise OptionError(f"{name} must have one number, or one for each of {len(default)} channels, got {len(chosen)}")
    return chosen * (len(default) // len(chosen))
