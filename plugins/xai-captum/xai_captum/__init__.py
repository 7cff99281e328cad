"""Attribution methods of captum, and further methods along paths, as explainers for xai-core."""

import xai_core as xai
from xai_captum.b_cos import BCos
from xai_captum.blur_ig import BlurIG
from xai_captum.deconvolution import Deconvolution
from xai_captum.deep_lift import DeepLift
from xai_captum.deep_lift_shap import DeepLiftShap
from xai_captum.feature_ablation import FeatureAblation
from xai_captum.gradient_shap import GradientShap
from xai_captum.guided_backprop import GuidedBackprop
from xai_captum.guided_grad_cam import GuidedGradCAM
from xai_captum.guided_ig import GuidedIG
from xai_captum.idgi import IDGI
from xai_captum.input_x_gradient import InputXGradient
from xai_captum.integrated_gradients import IntegratedGradients
from xai_captum.kernel_shap import KernelShap
from xai_captum.layer_conductance import LayerConductance
from xai_captum.layer_integrated_gradients import LayerIntegratedGradients
from xai_captum.lime import Lime
from xai_captum.lrp import LRP
from xai_captum.occlusion import Occlusion
from xai_captum.saliency import Saliency
from xai_captum.shapley_value_sampling import ShapleyValueSampling
from xai_captum.smooth_grad import SmoothGrad
from xai_captum.xrai import XRAI

__all__ = [
    "IDGI",
    "LRP",
    "XRAI",
    "BCos",
    "BlurIG",
    "Deconvolution",
    "DeepLift",
    "DeepLiftShap",
    "FeatureAblation",
    "GradientShap",
    "GuidedBackprop",
    "GuidedGradCAM",
    "GuidedIG",
    "InputXGradient",
    "IntegratedGradients",
    "KernelShap",
    "LayerConductance",
    "LayerIntegratedGradients",
    "Lime",
    "Occlusion",
    "Saliency",
    "ShapleyValueSampling",
    "SmoothGrad",
]


@xai.hookimpl
def xai_explainers() -> list[type[xai.Explainer]]:
    """Return the explainers of this plugin."""
    return [
        BCos,
        BlurIG,
        Deconvolution,
        DeepLift,
        DeepLiftShap,
        FeatureAblation,
        GradientShap,
        GuidedBackprop,
        GuidedGradCAM,
        GuidedIG,
        IDGI,
        InputXGradient,
        IntegratedGradients,
        KernelShap,
        LRP,
        LayerConductance,
        LayerIntegratedGradients,
        Lime,
        Occlusion,
        Saliency,
        ShapleyValueSampling,
        SmoothGrad,
        XRAI,
    ]
