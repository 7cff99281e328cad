"""The responses of a model's sites to coded images. The model runs on as many images as the requested sites require."""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from operator import le

from jaxtyping import Float
from numpy import ndarray

from xai_core.model.coded_images import CodedImages, bits_for
from xai_core.model.layouts import Size, count_and_channels, is_large, measured_grid, spatial_grid
from xai_core.model.map_parts import Part
from xai_core.model.responses import Responses
from xai_core.model.sites import Site

Key = tuple[Site, str]
"""A site, and one of its possible layouts."""
Bits = tuple[int, ...]
"""The number of bits that code the positions on each axis."""
Respond = Callable[[Sequence[Key], Bits, int], tuple[CodedImages, Mapping[Key, Responses]]]
"""Returns coded images with these numbers of bits and textures of a seed, and the responses of sites to them."""


class SiteResponses:
    """Responses to coded images. Each is measured when it is first requested.

    The first request measures all sites that require no more images than the requested site. The first request of a
    site that requires more images measures the rest. Large maps are measured only when they are requested or expected.

    Parameters
    ----------
    keys
        The sites to measure.
    large
        The sites with large maps.
    size
        (H, W) of the image, or (D, H, W) of the volume.
    respond
        Runs the model on coded images.
    """

    def __init__(self, keys: Sequence[Key], large: Collection[Key], size: Size, respond: Respond) -> None:
        self._bits = {key: _bits(key, size) for key in keys}
        self._large = frozenset(large)
        self._respond, self._expected, self._most_expected = respond, frozenset[Key](), (0,) * len(size)
        self._measured: dict[tuple[Key, int], tuple[CodedImages, Responses | None]] = {}

    def expect(self, keys: Sequence[Key]) -> None:
        """Let the first request measure these sites too, even if they require more images."""
        self._expected |= self._bits.keys() & keys
        self._most_expected = _most([self._most_expected, *(self._bits[key] for key in self._expected)])

    def of(self, key: Key, seed: int = 0) -> list[tuple[Float[ndarray, "n bits"], CodedImages]]:
        """Return the contrasts of a site's elements with the images, or an empty list if it was not measured.

        Parameters
        ----------
        key
            The site.
        seed
            The seed of the textures.
        """
        if key not in self._bits:
            return []
        images, responses = self._measurement(key, seed)
        bits = self._bits[key]
        columns = images.columns(bits)
        return [] if responses is None else [(of[:, columns], images.coarser(bits)) for of in responses.contrasts]

    def part(self, key: Key) -> Part | None:
        """Return the part of a large map that depends on the image, or None if it was not measured."""
        responses = self._measurement(key, 0)[1] if key in self._bits else None
        return None if responses is None else responses.part

    def _measurement(self, key: Key, seed: int) -> tuple[CodedImages, Responses | None]:
        if (key, seed) not in self._measured:
            self._measure(key, seed)
        return self._measured[key, seed]

    def _measure(self, key: Key, seed: int) -> None:
        rest = {
            other: bits
            for other, bits in self._bits.items()
            if (other, seed) not in self._measured
            and (other == key or other in self._expected or other not in self._large)
        }
        is_first = all(measured_with != seed for _, measured_with in self._measured)
        most = _most([self._bits[key], self._most_expected] if is_first else [*rest.values()])
        wanted = [other for other, bits in rest.items() if all(map(le, bits, most))]
        images, responses = self._respond(wanted, most, seed)
        self._measured |= {(other, seed): (images, responses.get(other)) for other in wanted}


def _most(bits: Sequence[Bits]) -> Bits:
    return tuple(map(max, zip(*bits, strict=True)))


def _bits(key: Key, size: Size) -> Bits:
    """Return the numbers of bits that locate the cells of a grid with the aspect ratio of the image.

    The number of slices of a grid over a volume is not known, but is at most the number of slices of the volume.
    """
    grid = spatial_grid(key[0].shape, key[1])
    if grid and is_large(grid):
        return tuple(map(bits_for, measured_grid(grid)))
    (*depth, height, width), (count, _) = size, count_and_channels(key[0].shape, key[1])
    spatial = bits_for(math.sqrt(count * height / width)), bits_for(math.sqrt(count * width / height))
    return *map(bits_for, depth), *spatial
