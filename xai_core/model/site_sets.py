"""Sets of sites as bit masks, which are fast to unite."""

from collections.abc import Iterator, Mapping, Sequence

from xai_core.model.sites import Site


class SiteSets(Mapping[Site, tuple[Site, ...]]):
    """A set of sites for each of some sites.

    Parameters
    ----------
    sites
        All sites.
    masks
        The set of each site. Bit i of the mask stands for site i.
    """

    def __init__(self, sites: Sequence[Site], masks: Mapping[Site, int]) -> None:
        self._sites, self._masks = sites, masks

    def __getitem__(self, site: Site) -> tuple[Site, ...]:
        return tuple(members(self._masks[site], self._sites))

    def __iter__(self) -> Iterator[Site]:
        return iter(self._masks)

    def __len__(self) -> int:
        return len(self._masks)


def members(mask: int, sites: Sequence[Site]) -> Iterator[Site]:
    """Yield the sites in a set, in their order."""
    while mask:
        lowest = mask & -mask
        yield sites[lowest.bit_length() - 1]
        mask ^= lowest
