"""Seg-Grad-CAM."""

from xai_cam.grad_cam import GradCAM


class SegGradCAM(GradCAM):
    """Seg-Grad-CAM: Grad-CAM of a region of a segmentation.

        alpha_k = 1/Z sum_uv d(sum_M y_ij)/dA_k,uv,    L = ReLU(sum_k alpha_k A_k)  (eq. 1 and 2)

    M is the region of the target: `xai_core.Region(category, mask)`. The mean over the region is explained instead of
    the sum, which is a multiple of it. For every target, the map is the map of `grad-cam`.

    Source: Vinogradova, Dibrov and Myers, "Towards Interpretable Semantic Segmentation via Gradient-weighted Class
    Activation Mapping", AAAI 2020 (student abstract).
    """

    name = "seg-grad-cam"
