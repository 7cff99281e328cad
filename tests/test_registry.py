"""The registry, with real distributions installed into a temporary environment."""

import base64
import csv
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import textwrap
import zipfile
from pathlib import Path
from typing import Any

import fresh
import pytest

import xai_core as xai
from xai_core.errors import OptionError, SpecError, UnknownExplainerError, UnknownMetricError, UnknownModelError
from xai_core.registry import registry

EXPLAINER = """
    import xai_core as xai

    class Mine(xai.Explainer):
        '''Mine, in one line.'''

        name = "{name}"

        def needs(self, adapter):
            return xai.Capture(activations=(adapter.default_layer,))

        def explain(self, captured):
            return captured.activation().mean(1)

    @xai.hookimpl
    def {hook}():
        return [Mine]
"""


def wheel(folder: Path, name: str, code: str, version: str = "1.0") -> Path:
    """Build a wheel of one module with an entry point in the group `xai_core`."""
    module = name.replace("-", "_")
    info = f"{module}-{version}.dist-info"
    files = {
        f"{module}.py": textwrap.dedent(code),
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": f"[xai_core]\nmine = {module}\n",
    }
    record = io.StringIO()
    for path, text in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        csv.writer(record).writerow([path, f"sha256={digest}", len(text)])
    path = folder / f"{module}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name_, text in {**files, f"{info}/RECORD": record.getvalue()}.items():
            archive.writestr(name_, text)
    return path


class Environment:
    """Distributions beside those of this environment, and a Python that sees both."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.site = folder, folder / "site"

    def install(self, name: str, code: str, version: str = "1.0") -> None:
        uv = os.environ.get("UV") or shutil.which("uv")
        assert uv, "these tests install wheels with uv"
        built = wheel(self.folder, name, code, version)
        command = [uv, "pip", "install", "--quiet", "--no-deps", "--offline", "--python", sys.executable]
        subprocess.run([*command, "--target", str(self.site), str(built)], check=True)

    def run(self, code: str) -> Any:
        """Run code that leaves JSON on its last line."""
        out = fresh.printed("import json\nimport xai_core as xai\n" + textwrap.dedent(code), str(self.site))
        return json.loads(out.splitlines()[-1])

    def error(self) -> str:
        """The error that looking a name up gives."""
        return self.run(
            """
            try:
                xai.list_explainers()
            except xai.XAIError as error:
                print(json.dumps(f"{type(error).__name__}: {error}"))
            """
        )


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    return Environment(tmp_path)


def test_an_installed_plugin_is_found_and_works(environment: Environment) -> None:
    environment.install("their-cam", EXPLAINER.format(name="their-cam", hook="xai_explainers"), "2.3")
    found = environment.run(
        """
        import torch
        from xai_core.registry import registry
        from torch.nn import AdaptiveAvgPool2d, Conv2d, Flatten, ReLU, Sequential
        model = Sequential(Conv2d(3, 4, 3, 2), ReLU(), AdaptiveAvgPool2d(1), Flatten())
        maps = xai.Engine(model).explain(torch.randn(2, 3, 16, 16), ["their-cam", "grad-cam"])
        entry = registry().find("explainers", "their-cam")
        print(json.dumps([list(maps), entry.plugin.distribution, entry.plugin.version, entry.summary]))
        """
    )
    assert found == [["their-cam", "grad-cam"], "their-cam", "2.3", "Mine, in one line."]


def test_a_name_given_twice_is_an_error_that_names_both(environment: Environment) -> None:
    environment.install("their-cam", EXPLAINER.format(name="grad-cam", hook="xai_explainers"), "2.3")
    message = environment.error()
    assert message.startswith("PluginError: two plugins give explainer 'grad-cam'")
    assert "their-cam 2.3" in message
    assert "xai-cam 0.1.0" in message


def test_a_misspelled_hook_is_an_error(environment: Environment) -> None:
    environment.install("their-cam", EXPLAINER.format(name="their-cam", hook="xai_explaners"))
    message = environment.error()
    assert message.startswith("PluginError: plugin their-cam 1.0")
    assert "'xai_explaners'" in message
    assert "did you mean 'xai_explainers'" in message


def test_a_hook_with_arguments_that_do_not_exist_is_an_error(environment: Environment) -> None:
    environment.install("their-cam", "import xai_core as xai\n@xai.hookimpl\ndef xai_metrics(model): return []\n")
    message = environment.error()
    assert message.startswith("PluginError: plugin their-cam 1.0")
    assert "model" in message


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import no_such_module", "ModuleNotFoundError: No module named 'no_such_module'"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("import xai_core as xai\n@xai.hookimpl\ndef xai_metrics(): raise RuntimeError('no')", "RuntimeError: no"),
        ("import xai_core as xai\n@xai.hookimpl\ndef xai_metrics(): return [int]", "must return subclasses of Metric"),
        (EXPLAINER.format(name="Their CAM", hook="xai_explainers"), "must be lower case with hyphens"),
    ],
)
def test_a_broken_plugin_is_listed_with_its_reason_and_nothing_else_breaks(
    environment: Environment, code: str, reason: str
) -> None:
    environment.install("a-broken-plugin", code, "0.9")
    environment.install("their-cam", EXPLAINER.format(name="their-cam", hook="xai_explainers"))
    names, broken, message = environment.run(
        """
        from xai_core.registry import registry
        try:
            xai.create_explainer("mine")
        except xai.XAIError as error:
            message = str(error)
        broken = [[p.distribution, p.version, p.broken] for p in registry().plugins if p.broken]
        print(json.dumps([xai.list_explainers(), broken, message]))
        """
    )
    assert set(names) == {*xai.list_explainers(), "their-cam"}
    assert [item[:2] for item in broken] == [["a-broken-plugin", "0.9"]]
    assert reason in broken[0][2]
    assert "a-broken-plugin" in message


def test_first_party_names() -> None:
    assert {"grad-cam", "score-cam", "rollout", "head-attention"} <= set(xai.list_explainers())
    assert {"deletion", "insertion"} <= set(xai.list_metrics())
    assert {"efficientnet-lite0", "torchvision:resnet50", "timm:vit_tiny_patch16_224"} <= set(xai.list_models())
    assert {"folder", "photos"} <= set(xai.list_datasets())
    assert not [plugin for plugin in registry().plugins if plugin.broken]


def test_unknown_names_suggest_known_ones() -> None:
    with pytest.raises(UnknownExplainerError, match="did you mean 'grad-cam'"):
        xai.create_explainer("gradcam")
    with pytest.raises(UnknownMetricError, match="did you mean 'insertion'"):
        xai.create_metric("insertions")
    with pytest.raises(UnknownModelError, match="did you mean 'timm'"):
        xai.load_model("tim:resnet18")


def test_specs_make_objects_with_options() -> None:
    explainer = xai.create_explainer("score-cam:layer=layer3,score=logit", channel_softmax=True)
    assert explainer.spec == "score-cam:layer=layer3,score=logit,channel_softmax=true"
    assert xai.create_metric("deletion:steps=28").spec == "deletion:steps=28"
    assert xai.create_explainer("grad-cam").spec == "grad-cam"
    with pytest.raises(OptionError, match="it takes layer"):
        xai.create_explainer("grad-cam:layers=layer3")
    with pytest.raises(SpecError, match="option=value"):
        xai.create_explainer("grad-cam:layer=layer3,score")
    with pytest.raises(SpecError, match="names nothing"):
        xai.create_explainer("")
    with pytest.raises(OptionError, match="'layer3' in 'grad-cam:layer3' is not an option"):
        xai.create_explainer("grad-cam:layer3")
