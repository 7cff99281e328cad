"""Protocols of papers: metrics with every choice that the number depends on."""

from dataclasses import dataclass

from xai_core.errors import OptionError
from xai_core.spec import suggest


@dataclass(frozen=True)
class Protocol:
    """A preset.

    Attributes
    ----------
    metrics
        Specs.
    target
        Which class is explained: `predicted` or `label`.
    source
        Where it is from.
    """

    metrics: tuple[str, ...]
    target: str
    source: str


PROTOCOLS = {
    "rise": Protocol(("deletion", "insertion"), "predicted", "Petsiuk et al., BMVC 2018, section 4.2, and its code"),
    "score-cam": Protocol(
        (
            *("average-drop:mute=0.5", "average-increase:mute=0.5"),
            *("deletion:steps=100", "insertion:steps=100,baseline=zero"),
        ),
        "predicted",
        "Wang et al., CVPR Workshops 2020, sections 4.2 and 4.3",
    ),
    "grad-cam++": Protocol(
        ("average-drop", "average-increase"), "predicted", "Chattopadhyay et al., WACV 2018, section 4.1"
    ),
    "road": Protocol(("road",), "predicted", "Rong et al., ICML 2022"),
    "adcc": Protocol(
        ("average-drop", "coherency", "complexity", "adcc"), "predicted", "Poppi et al., CVPR Workshops 2021"
    ),
}


def find_protocol(name: str) -> Protocol:
    """The preset of a name.

    Raises
    ------
    OptionError
        Where there is none.
    """
    if name not in PROTOCOLS:
        raise OptionError(f"there is no protocol {name!r}; {suggest(name, PROTOCOLS)}")
    return PROTOCOLS[name]
