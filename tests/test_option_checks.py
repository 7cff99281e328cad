"""Options that are no number where one is needed, or the wrong one, are refused when a method is made."""

import json

import pytest

from support import subprocesses as fresh

METHODS = [
    "captum-occlusion:strides=2.5",
    "center:sigma=abc",
    "center:sigma=inf",
    "deep-lift:eps=nan",
    "feature-ablation:patch=2.5",
    "gradient-shap:seed=99999999999999999999",
    "gradient-shap:stdevs=inf",
    "integrated-gradients:n_steps=2.5",
    "integrated-gradients:n_steps=abc",
    "kernel-shap:n_samples=2.5",
    "lrp:epsilon=nan",
    "occlusion:seed=1.5",
    "random:seed=1.5",
    "random:seed=99999999999999999999",
    "rise:masks=2.5",
    "rise:probability=abc",
    "rise:seed=abc",
    "shapley-value-sampling:seed=1.5",
    "smooth-grad:seed=abc",
    "smooth-grad:stdevs=abc",
    "smooth-grad:stdevs=nan",
]
METRICS = [
    "aopc:seed=abc",
    "average-drop:mute=abc",
    "average-drop:mute=nan",
    "deletion:seed=1.5",
    "faithfulness-correlation:seed=1.5",
    "infidelity:normalize=maybe",
    "infidelity:seed=1.5",
    "irof:seed=1.5",
    "max-sensitivity:radius=abc",
    "max-sensitivity:seed=1.5",
    "parameter-randomization:seed=1.5",
    "pointing-game:tolerance=abc",
    "road:seed=1.5",
]
CODE = """
import json
import xai_core as xai

said = {}
for create, specs in ((xai.create_explainer, %r), (xai.create_metric, %r)):
    for spec in specs:
        try:
            create(spec)
        except Exception as error:
            said[spec] = [type(error).__name__, str(error)]
print(json.dumps(said))
"""


@pytest.fixture(scope="module")
def said() -> dict[str, list[str]]:
    """The errors in a process without the check of annotations, which would refuse some of these first."""
    return json.loads(fresh.printed(CODE % (METHODS, METRICS)))


@pytest.mark.parametrize("spec", [*METHODS, *METRICS])
def test_the_error_names_the_option_and_the_value(said: dict[str, list[str]], spec: str) -> None:
    option, value = spec.partition(":")[2].split("=")
    kind, message = said[spec]
    assert kind == "OptionError"
    assert f"{option} must be " in message
    assert value in message
