"""The layouts of a model's sites: which element of a tensor belongs to which cell of which grid.

If only operations such as convolutions and pooling compute a feature map, its shape determines the locations. For all
other tensors, coded images determine once which part of the image affects each element: see `coded_images`, `responses`
and `locations`.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType

from xai_core.model.kept_locations import Kept
from xai_core.model.layouts import (
    Features,
    Size,
    count_and_channels,
    fits,
    is_channels_first,
    is_folded,
    is_large,
    measured_grid,
    possible_layouts,
    spatial_grid,
)
from xai_core.model.locations import Locations, agrees, contradicts, fit, read_locations
from xai_core.model.map_parts import Part, indices, part_in, same_part, size_of, whole
from xai_core.model.site_responses import Respond, SiteResponses
from xai_core.model.sites import Site

FEWEST_CELLS = 7
"""The number of cells below which a second pair of textures must confirm the locations."""
NOISE = 0.85
"""Locations of an earlier site are preferred if their fit is at least this fraction of the fit of a site's own."""
MOST_TOKENS = 2**16
"""The number of tokens above which their locations are not measured."""


class SiteLayouts:
    """Layouts of sites, each of which is read when it is first requested.

    Parameters
    ----------
    sites
        All sites of a forward pass, in order of execution.
    size
        (H, W) of the image, or (D, H, W) of the volume.
    kept
        For each site that depends on the image, how its order is known, or None: see `kept_locations`.
    earlier
        For each site on the path to the scores, the sites that it is computed from, in order of execution.
    respond
        Runs the model on coded images.
    orders
        For each site whose first dimension contains the frames of several clips, their order: see `frame_orders`.
    """

    def __init__(
        self,
        sites: Sequence[Site],
        size: Size,
        kept: Mapping[Site, Kept | None],
        earlier: Mapping[Site, Collection[Site]],
        respond: Respond,
        orders: Mapping[Site, str] = MappingProxyType({}),
    ) -> None:
        self.sites, self.size = sites, size
        self._kept, self._earlier = kept, earlier
        self._possible = {site: _ordered(possible_layouts(site.shape, size), orders.get(site)) for site in sites}
        grids = {(site, layout): grid for site in sites for layout, grid in self._possible[site].items()}
        self._responses = SiteResponses(
            [key for key, grid in grids.items() if self._is_measured(*key, grid)],
            [key for key, grid in grids.items() if is_large(grid)],
            size,
            respond,
        )
        self._found: dict[Site, Features | None] = {}
        self._read: dict[tuple[Site, str], Locations | None] = {}

    def of(self, site: Site) -> Features | None:
        """Return the layout of a site, or None if its elements have no locations in the image that can be read."""
        if site not in self._found:
            self._found[site] = self._layout(site)
        return self._found[site]

    def share(self, other: "SiteLayouts") -> None:
        """Share the responses to coded images with another probe of the same model, if its sites are the same."""
        if other.sites == self.sites:
            self._read, self._responses = other._read, other._responses

    def expect(self, sites: Sequence[Site]) -> None:
        """Let the first measurement include these sites, and the sites that determine their order."""
        known = [kept for site in sites if (kept := self._kept.get(site)) is not None]
        small = [site for site in sites if not any(map(is_large, self._possible[site].values()))]
        measured = {*small, *(base for kept in known for base in kept.bases)}
        self._responses.expect([(site, layout) for site in measured for layout in self._possible[site]])

    def may_be_spatial(self, site: Site) -> bool:
        """Return whether the shape of a site allows a layout."""
        return bool(self._possible[site])

    def _layout(self, site: Site) -> Features | None:
        possible = self._possible[site]
        for layout, grid in possible.items():
            part = self._part_in_order(site, layout, grid) if grid else None
            if grid and part and fits(size_of(part), self.size):
                return _features(site, layout, grid, part)
        for layout, grid in possible.items():
            count, channels = count_and_channels(site.shape, layout)
            if count == 1:
                return Features(site.layer, layout, (1, 1), channels)
            locations = self._locations(site, layout, grid)
            if grid and is_large(grid):
                part = self._responses.part((site, layout))
                if part and locations == _raster(size_of(part)):
                    return _features(site, layout, grid, part)
            elif locations is not None:
                return Features(site.layer, layout, locations.grid, channels, locations.elements, count)
        return None

    def _is_measured(self, site: Site, layout: str, grid: Size | None) -> bool:
        """Return whether coded images locate a site, unless the graph shows that it keeps the order of the image."""
        count, _ = count_and_channels(site.shape, layout)
        kept = self._kept.get(site)
        if count < 4 or (kept is not None and not kept.bases):
            return False
        return grid is not None or count <= MOST_TOKENS

    def _part_in_order(self, site: Site, layout: str, grid: Size) -> Part | None:
        """Return the part of a map in image order, or None unless the graph keeps the order of its bases."""
        kept = self._kept.get(site)
        if kept is None or not _is_map(layout, kept):
            return None
        parts = {self._part_of_map(base, grid) for base in kept.bases} or {whole(grid)}
        return parts.pop() if len(parts) == 1 else None

    def _part_of_map(self, site: Site, grid: Size) -> Part | None:
        """Return the part of a grid that covers the same region as the ordered cells of a feature map, or None."""
        features = self.of(site)
        if features is None or not is_channels_first(features.layout):
            return None
        own = spatial_grid(site.shape, features.layout)
        part = part_in(features, own) if own and len(own) == len(grid) else None
        return same_part(part, own, grid) if part and own else None

    def _locations(self, site: Site, layout: str, grid: Size | None) -> Locations | None:
        """Return the locations of a site, from its own responses or from an earlier site with as many elements.

        The earlier site is preferred if its locations fit the responses as well as the site's own, up to noise.
        """
        own = self._locations_in(site, layout, grid)
        first = None if is_large(grid) else self._first_locations(site, layout, grid)
        if first is None or first == own:
            return own
        if own is None:
            consistent = not self._contradicts(site, layout, grid) if grid else self._agrees(site, layout, first)
            return first if consistent else None
        return first if self._fit(site, layout, first) >= NOISE * self._fit(site, layout, own) else own

    def _first_locations(self, site: Site, layout: str, grid: Size | None) -> Locations | None:
        """Read the locations of the first earlier site that has as many elements and that a site is computed from."""
        count, _ = count_and_channels(site.shape, layout)
        for other in self._earlier.get(site, ()):
            for other_layout, other_grid in self._possible[other].items():
                if other_grid != grid or count_and_channels(other.shape, other_layout)[0] != count:
                    continue
                found = self._locations_in(other, other_layout, other_grid)
                if grid and found != (raster := _raster(grid)):
                    found = (
                        raster if self._part_in_order(other, other_layout, grid) == whole(grid) else found
                    )  # may require more images
                if found is not None:
                    return found
        return None

    def _fit(self, site: Site, layout: str, locations: Locations) -> float:
        return max((fit(*response, locations) for response in self._responses.of((site, layout))), default=0.0)

    def _locations_in(self, site: Site, layout: str, grid: Size | None) -> Locations | None:
        """Return the locations that the responses of a site show, or None."""
        key = site, layout
        if key not in self._read:
            if is_large(grid):
                part = self._responses.part(key)
                grid = measured_grid(size_of(part)) if part else None
            locations = self._read_with(key, grid, 0)
            if (
                locations is not None
                and len(locations.elements) < FEWEST_CELLS
                and self._read_with(key, grid, 1) != locations
            ):
                locations = None
            self._read[key] = locations
        return self._read[key]

    def _read_with(self, key: tuple[Site, str], grid: Size | None, seed: int) -> Locations | None:
        readings = (read_locations(*response, grid) for response in self._responses.of(key, seed))
        return next((locations for locations in readings if locations is not None), None)

    def _agrees(self, site: Site, layout: str, locations: Locations) -> bool:
        return any(agrees(*response, locations) for response in self._responses.of((site, layout)))

    def _contradicts(self, site: Site, layout: str, grid: Size) -> bool:
        return any(contradicts(*response, grid) for response in self._responses.of((site, layout)))


def _raster(grid: Size) -> Locations:
    """Return the locations of a map in image order, on the grid on which they are measured."""
    grid = measured_grid(grid)
    return Locations(grid, tuple(range(math.prod(grid))))


def _features(site: Site, layout: str, grid: Size, part: Part) -> Features:
    """Return the layout of a map in image order, of which a part shows the image."""
    count, channels = count_and_channels(site.shape, layout)
    return Features(site.layer, layout, size_of(part), channels, indices(part, grid), count)


def _is_map(layout: str, kept: Kept) -> bool:
    """Return whether a layout is the layout of a feature map whose order is kept."""
    return layout.endswith("WC") if kept.channels_last else is_channels_first(layout)


def _ordered(possible: dict[str, Size | None], order: str | None) -> dict[str, Size | None]:
    """Return the layouts with the known order of clips and frames, and none if the order is not known."""
    if not any(map(is_folded, possible)):
        return possible
    return {} if order is None else {order + layout[len(order) :]: grid for layout, grid in possible.items()}
