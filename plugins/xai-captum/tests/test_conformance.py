"""The explainers pass the conformance checks."""

from support.b_cos_models import BCosCNN
from support.conformance import explainer_checks
from support.models import Plain, settled
from support.volume_models import built
from xai_core.testing import Check, parametrize_with_checks

# LRP has no rule for the residual connections of the models that the checks use.
MODELS = {
    "lrp": {"a network without residual connections": settled(Plain())},
    "b-cos": {"a B-cos network": built(BCosCNN)},
}


@parametrize_with_checks(explainer_checks("xai-captum", MODELS))
def test_explainers(check: Check) -> None:
    check()
