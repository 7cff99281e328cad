"""Evaluation protocols of papers: their metrics, with every option that the score depends on."""

from dataclasses import dataclass

from xai_core.errors import OptionError
from xai_core.spec import suggest


@dataclass(frozen=True)
class Protocol:
    """An evaluation protocol.

    Attributes
    ----------
    metrics
        Specs of the metrics.
    target
        Class to explain: `predicted` or `label`.
    source
        The publication that defines the protocol.
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
    """Return the protocol with this name.

    Raises
    ------
    OptionError
        If there is no protocol with this name.
    """
    if name not in PROTOCOLS:
        raise OptionError(f"there is no protocol {name!r}; {suggest(name, PROTOCOLS)}")
    return PROTOCOLS[name]
