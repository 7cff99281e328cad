"""D-RISE."""

import xai_core as xai
from xai_core.plugin import Baseline, UnsuitableError
from xai_perturbation.rise import RISE


class DRISE(RISE):
    """D-RISE: RISE for one detection of an object detector.

        L = 1 / (N p) sum_i s(f(x * M_i)) M_i

    s is the highest match of the detections in a masked image with the explained detection. The match is the product of
    the intersection over union of the boxes, the cosine similarity of the class probabilities, and the objectness
    (eq. 1-3). `xai_core.Box` defines it.

    s = 16, p = 0.5 and N = 5000 are the values of the paper. The masks are generated as in RISE. Boxes are defined
    in images, so volumes are not supported.

    Source: Petsiuk et al., "Black-box Explanation of Object Detectors via Saliency Maps", CVPR 2021.

    Parameters
    ----------
    masks, cells, probability, baseline, seed
        See `RISE`.
    """

    name = "d-rise"
    volumes = False

    def __init__(
        self,
        masks: int = 5000,
        cells: int = 16,
        probability: float = 0.5,
        baseline: Baseline = "zero",
        seed: int = 0,
    ) -> None:
        super().__init__(masks, cells, probability, "probability", baseline, seed)

    def needs(self, adapter: xai.ModelAdapter) -> xai.Needs:
        """Request nothing, and require a detector."""
        if adapter.probe.detections is None:
            raise UnsuitableError("d-rise explains detectors; use rise for other models")
        return super().needs(adapter)
