"""Class activation maps for xai-core."""

import xai_core as xai
from xai_cam.ablation_cam import AblationCAM
from xai_cam.base import CAM
from xai_cam.cam import ClassActivationMap
from xai_cam.conceptor_cam import ConceptorCAM
from xai_cam.dff import DFF
from xai_cam.eigen_cam import EigenCAM
from xai_cam.eigen_grad_cam import EigenGradCAM
from xai_cam.eigen_smoothed import EigenSmoothed
from xai_cam.element_wise_cam import ElementWiseCAM
from xai_cam.fem import FEM
from xai_cam.finer_cam import FinerCAM
from xai_cam.full_grad import FullGrad
from xai_cam.fused import Fused
from xai_cam.grad_cam import GradCAM
from xai_cam.grad_cam_plus_plus import GradCAMPlusPlus
from xai_cam.group_cam import GroupCAM
from xai_cam.hires_cam import HiResCAM
from xai_cam.is_cam import ISCAM
from xai_cam.kpca_cam import KPCACAM
from xai_cam.layer_cam import LayerCAM
from xai_cam.noise_smoothed import NoiseSmoothed
from xai_cam.odam import ODAM
from xai_cam.opti_cam import OptiCAM
from xai_cam.poly_cam import PolyCAM
from xai_cam.recipro_cam import ReciproCAM
from xai_cam.regulated import Regulated
from xai_cam.score_cam import ScoreCAM
from xai_cam.seg_grad_cam import SegGradCAM
from xai_cam.seg_xres_cam import SegXResCAM
from xai_cam.shapley_cam import ShapleyCAM
from xai_cam.smooth_grad_cam_plus_plus import SmoothGradCAMPlusPlus
from xai_cam.smoothed import Smoothed
from xai_cam.ss_cam import SSCAM
from xai_cam.xgrad_cam import XGradCAM

__all__ = [
    "CAM",
    "DFF",
    "FEM",
    "ISCAM",
    "KPCACAM",
    "ODAM",
    "SSCAM",
    "AblationCAM",
    "ClassActivationMap",
    "ConceptorCAM",
    "EigenCAM",
    "EigenGradCAM",
    "EigenSmoothed",
    "ElementWiseCAM",
    "FinerCAM",
    "FullGrad",
    "Fused",
    "GradCAM",
    "GradCAMPlusPlus",
    "GroupCAM",
    "HiResCAM",
    "LayerCAM",
    "NoiseSmoothed",
    "OptiCAM",
    "PolyCAM",
    "ReciproCAM",
    "Regulated",
    "ScoreCAM",
    "SegGradCAM",
    "SegXResCAM",
    "ShapleyCAM",
    "SmoothGradCAMPlusPlus",
    "Smoothed",
    "XGradCAM",
]


@xai.hookimpl
def xai_explainers() -> list[type[xai.Explainer]]:
    """Return the explainers of this plugin."""
    return [
        AblationCAM,
        ClassActivationMap,
        ConceptorCAM,
        DFF,
        EigenCAM,
        EigenGradCAM,
        EigenSmoothed,
        ElementWiseCAM,
        FEM,
        FinerCAM,
        FullGrad,
        Fused,
        GradCAM,
        GradCAMPlusPlus,
        GroupCAM,
        HiResCAM,
        ISCAM,
        KPCACAM,
        LayerCAM,
        NoiseSmoothed,
        ODAM,
        OptiCAM,
        PolyCAM,
        ReciproCAM,
        Regulated,
        SSCAM,
        ScoreCAM,
        SegGradCAM,
        SegXResCAM,
        ShapleyCAM,
        SmoothGradCAMPlusPlus,
        Smoothed,
        XGradCAM,
    ]
