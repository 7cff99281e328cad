"""The layouts of a model's sites: which element of a tensor belongs to which cell of which grid.

If only operations such as convolutions and pooling compute a feature map, its shape determines the locations. For all
other tensors, coded images determine once which part of the image affects each element: see `coded_images`, `responses`
and `locations`.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from types import MappingProxyType

from xai_core.model.kept_locations import Kept
from xai_core.model.layouts import (
    Features,
    Size,
    count_and_channels,
    fits,
    is_channels_first,
    is_folded,
    possible_layouts,
)
from xai_core.model.locations import Locations, agrees, contradicts, fit, read_locations
from xai_core.model.site_responses import Respond, SiteResponses
from xai_core.model.sites import Site

FEWEST_CELLS = 7
"""The number of cells below which a second pair of textures must confirm the locations."""
NOISE = 0.85
"""Locations of an earlier site are preferred if their fit is at least this fraction of the fit of a site's own."""
LARGEST_COUNT = 4096
"""The number of elements above which the locations of a tensor are not measured."""


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
        keys = [(site, layout) for site in sites for layout in self._possible[site] if self._is_measured(site, layout)]
        self._responses = SiteResponses(keys, size, respond)
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

    def expect(self, sites: Iterable[Site]) -> None:
        """Let the first measurement include these sites."""
        self._responses.expect([(site, layout) for site in sites for layout in self._possible[site]])

    def may_be_spatial(self, site: Site) -> bool:
        """Return whether the shape of a site allows a layout."""
        return bool(self._possible[site])

    def _layout(self, site: Site) -> Features | None:
        possible = self._possible[site]
        for layout, grid in possible.items():
            if grid and fits(grid, self.size) and self._is_in_order(site, layout):
                return Features(site.layer, layout, grid, count_and_channels(site.shape, layout)[1])
        for layout, grid in possible.items():
            count, channels = count_and_channels(site.shape, layout)
            if count == 1:
                return Features(site.layer, layout, (1, 1), channels)
            locations = self._locations(site, layout, grid)
            if locations is not None:
                return Features(site.layer, layout, locations.grid, channels, locations.elements, count)
        return None

    def _is_measured(self, site: Site, layout: str) -> bool:
        """Return whether coded images locate a site, unless the graph shows that it keeps the order of the image."""
        count, _ = count_and_channels(site.shape, layout)
        kept = self._kept.get(site)
        return 4 <= count <= LARGEST_COUNT and (kept is None or bool(kept.bases))

    def _is_in_order(self, site: Site, layout: str) -> bool:
        """Return whether a feature map is in image order, because the graph keeps the order of its bases."""
        kept = self._kept.get(site)
        return kept is not None and _is_map(layout, kept) and all(self._is_ordered_map(base) for base in kept.bases)

    def _is_ordered_map(self, site: Site) -> bool:
        features = self.of(site)
        return features is not None and is_channels_first(features.layout) and features.start == 0

    def _locations(self, site: Site, layout: str, grid: Size | None) -> Locations | None:
        """Return the locations of a site, from its own responses or from an earlier site with as many elements.

        The earlier site is preferred if its locations fit the responses as well as the site's own, up to noise.
        """
        own, first = self._locations_in(site, layout, grid), self._first_locations(site, layout, grid)
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
                if grid and found != (raster := Locations(grid, tuple(range(count)))):
                    found = raster if self._is_in_order(other, other_layout) else found  # may require more images
                if found is not None:
                    return found
        return None

    def _fit(self, site: Site, layout: str, locations: Locations) -> float:
        return max((fit(*response, locations) for response in self._responses.of((site, layout))), default=0.0)

    def _locations_in(self, site: Site, layout: str, grid: Size | None) -> Locations | None:
        """Return the locations that the responses of a site show, or None."""
        key = site, layout
        if key not in self._read:
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


def _is_map(layout: str, kept: Kept) -> bool:
    """Return whether a layout is the layout of a feature map whose order is kept."""
    return layout.endswith("WC") if kept.channels_last else is_channels_first(layout)


def _ordered(possible: dict[str, Size | None], order: str | None) -> dict[str, Size | None]:
    """Return the layouts with the known order of clips and frames, and none if the order is not known."""
    if not any(map(is_folded, possible)):
        return possible
    return {} if order is None else {order + layout[len(order) :]: grid for layout, grid in possible.items()}
