"""The registry, with real distributions installed into a temporary environment."""

import sys
import types
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import xai_core as xai
from support.models import SmallCNN, three_images
from support.plugin_environment import Environment, Plug, own
from xai_core.errors import (
    OptionError,
    PluginError,
    PluginWarning,
    SpecError,
    UnknownExplainerError,
    UnknownMetricError,
    UnknownModelError,
)
from xai_core.plugin import CONTRACT, ModelSource
from xai_core.plugins.registry import current, looking_in, origin, registry

EXPLAINER = """
    import xai_core as xai

    class Mine(xai.Explainer):
        '''Mine, in one line.'''

        name = "{name}"

        def needs(self, adapter):
            return xai.Needs(activations=(adapter.default_layer,))

        def explain(self, captured):
            return captured.activation().mean(1)

    @xai.hookimpl
    def {hook}():
        return [Mine]
"""


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    return Environment(tmp_path)


def test_an_installed_plugin_is_found_and_works(environment: Environment) -> None:
    environment.install("their-cam", EXPLAINER.format(name="their-cam", hook="xai_explainers"), "2.3")
    found = environment.run(
        """
        import torch
        from xai_core.plugins.registry import registry
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
    assert message.startswith("PluginError: two plugins provide explainer 'grad-cam'")
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


def test_a_broken_plugin_is_listed_with_its_version_and_named_for_unknown_names(environment: Environment) -> None:
    environment.install("a-broken-plugin", "import no_such_module", "0.9")
    environment.install("their-cam", EXPLAINER.format(name="their-cam", hook="xai_explainers"))
    names, broken, message = environment.run(
        """
        from xai_core.plugins.registry import registry
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
    assert "ModuleNotFoundError: No module named 'no_such_module'" in broken[0][2]
    assert "a-broken-plugin" in message


def test_broken_plugins_are_listed_on_the_command_line(environment: Environment) -> None:
    environment.install("a-broken-plugin", "raise SystemExit('bye')", "0.9")
    out = environment.run(
        """
        from typer.testing import CliRunner
        from xai_core.cli import app
        result = CliRunner(env={"COLUMNS": "200"}).invoke(app, ["list", "plugins"])
        print(json.dumps([result.exit_code, result.stdout]))
        """
    )
    assert out[0] == 0
    assert "Plugins that failed to load" in out[1]
    assert "SystemExit: bye" in out[1]
    assert "xai-cam 0.1.0" in out[1]


def test_a_model_source_that_exits_is_skipped_with_a_warning() -> None:
    exiting = type("Exiting", (ModelSource,), {"name": "exiting", "names": lambda self: sys.exit(), "load": None})
    plug = types.ModuleType("plug")
    plug.xai_models = xai.hookimpl(lambda: [exiting])
    plug.xai_models.__name__ = "xai_models"
    with (
        looking_in(xai.Engine(SmallCNN(), plugins=["xai-zoo", plug]).plugins),
        pytest.warns(PluginWarning, match="model source exiting of .* failed and was skipped: SystemExit"),
    ):
        assert "efficientnet-lite0" in xai.list_models()


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
    with pytest.raises(SpecError, match="no name before the colon"):
        xai.create_explainer("")
    with pytest.raises(SpecError, match="'layer3' in 'grad-cam:layer3' is not an option"):
        xai.create_explainer("grad-cam:layer3")


@pytest.mark.parametrize(
    ("requires", "said"),
    [
        (["xai-core>=9"], "needs xai-core>=9, but 0.1.0 is installed; install"),
        (["XAI_Core<0.1,>=0.0.1"], "needs xai-core<0.1,>=0.0.1, but 0.1.0 is installed; install"),
        (["xai-core>=9; python_version >= '3'"], "needs xai-core>=9"),
        (["xai-core>=0.1,<0.2", "torch>=2"], None),
        (["xai-core>=9; python_version < '3'"], None),
        (["xai-core>=9; extra == 'new'"], None),
    ],
)
def test_a_plugin_for_another_xai_core_is_not_imported(
    environment: Environment, requires: list[str], said: str | None
) -> None:
    environment.install("their-cam", EXPLAINER.format(name="their-cam", hook="xai_explainers"), "2.3", requires)
    broken, imported, names = environment.run(
        """
        from xai_core.plugins.registry import registry
        broken = [p.broken for p in registry().plugins if p.distribution == "their-cam"]
        print(json.dumps([broken, "their_cam" in sys.modules, xai.list_explainers()]))
        """
    )
    if said is None:
        assert broken == [None]
        assert imported
        assert "their-cam" in names
    else:
        assert broken[0].startswith(said)
        assert "`pip install --upgrade their-cam xai-core`" in broken[0]
        assert not imported
        assert names == xai.list_explainers()


@pytest.mark.parametrize(
    ("chosen", "theirs", "ours"), [("off", False, False), ("My_Cam", True, False), ("xai-cam, my-cam", True, True)]
)
def test_only_what_the_environment_chooses_is_imported(
    environment: Environment, chosen: str, theirs: bool, ours: bool
) -> None:
    environment.install("My-Cam", EXPLAINER.format(name="my-cam", hook="xai_explainers"))
    imported, names, left_out, message = environment.run(
        """
        from xai_core.plugins.registry import registry
        names = xai.list_explainers()
        try:
            xai.create_explainer("rollout")
        except xai.XAIError as error:
            message = str(error)
        left_out = [plugin.distribution for plugin in registry().left_out]
        imported = [name in sys.modules for name in ("My_Cam", "xai_cam", "xai_attention")]
        print(json.dumps([imported, names, left_out, message]))
        """,
        chosen,
    )
    assert imported == [theirs, ours, False]
    assert [name in names for name in ("my-cam", "grad-cam", "rollout")] == imported
    everything = {
        "My-Cam": theirs,
        "xai-attention": False,
        "xai-cam": ours,
        "xai-faithfulness": False,
        "xai-zoo": False,
    }
    assert {*left_out} >= {name for name, there in everything.items() if not there}
    assert not {*left_out} & {name for name, there in everything.items() if there}
    assert f"XAI_PLUGINS={chosen} leaves out: " in message


def test_what_the_environment_chooses_must_be_there(environment: Environment) -> None:
    message = environment.error(chosen="xai-cam,xai-cat")
    assert message.startswith("PluginError: XAI_PLUGINS=xai-cam,xai-cat names 'xai-cat'")
    assert "expected one of: xai-attention, xai-cam, " in message
    message = environment.error("xai.Engine(__import__('torch').nn.Identity(), plugins='xai-zoo')", "xai-cam")
    assert message.startswith("PluginError: plugins= (of those that XAI_PLUGINS=xai-cam selects) names 'xai-zoo'")
    assert message.endswith("expected one of: xai-cam")


def test_an_engine_loads_no_plugin_but_its_own(environment: Environment) -> None:
    """Not even one that would stop all others."""
    environment.install("their-cam", EXPLAINER.format(name="grad-cam", hook="xai_explainers"), "2.3")
    keys, imported = environment.run(
        """
        import torch
        from torch.nn import AdaptiveAvgPool2d, Conv2d, Flatten, ReLU, Sequential
        model = Sequential(Conv2d(3, 4, 3, 2), ReLU(), AdaptiveAvgPool2d(1), Flatten())
        engine = xai.Engine(model, plugins=["Xai.Cam"])
        maps = engine.explain(torch.randn(2, 3, 16, 16), "smoothed(grad-cam)")
        print(json.dumps([list(maps), [name in sys.modules for name in ("xai_cam", "their_cam", "xai_attention")]]))
        """
    )
    assert keys == ["smoothed(grad-cam)"]
    assert imported == [True, False, False]


def test_an_engine_finds_what_its_plugins_give_and_nothing_else() -> None:
    engine = xai.Engine(SmallCNN().eval(), plugins=["xai-cam", Plug("own-cam")])
    images = three_images()
    maps = engine.explain(images, ["grad-cam", "own-cam", "smoothed(own-cam)", own("another")()])
    assert list(maps) == ["grad-cam", "own-cam", "smoothed(own-cam)", "another"]
    for name in ("rollout", "smoothed(rollout)"):
        with pytest.raises(UnknownExplainerError, match=r"engine is restricted .*xai-cam 0\.1\.0.*'rollout'"):
            engine.explain(images, name)
    with pytest.raises(UnknownMetricError, match="engine is restricted"):
        engine.evaluate(images, maps, "deletion")
    with pytest.raises(UnknownExplainerError, match="no installed plugin provides method 'own-cam'"):
        xai.create_explainer("own-cam")
    assert list(xai.Engine(SmallCNN().eval()).explain(images, "edges")) == ["edges"]
    with pytest.raises(UnknownExplainerError, match=r"some plugins \(none\), and none of them"):
        xai.Engine(SmallCNN(), plugins=[]).explain(images, "grad-cam")


def test_an_engine_takes_a_module_and_its_adapters() -> None:
    class Odd(xai.ModelAdapter):
        kind = "odd"

    module = types.ModuleType("notebook")
    module.xai_adapters = xai.hookimpl(lambda: [Odd])
    module.xai_adapters.__name__ = "xai_adapters"
    assert xai.Engine(SmallCNN(), plugins=module).adapter(three_images()).kind == "odd"
    assert xai.Engine(SmallCNN()).adapter(three_images()).kind == "convolutional"


@pytest.mark.parametrize(
    ("plugins", "said"),
    [
        (["xai-cat"], r"plugins= names 'xai-cat', .* expected one of: xai-attention, xai-cam"),
        (own("mine"), "'Own' has no function marked with `xai_core.hookimpl`"),
        (
            [Plug("grad-cam"), "xai-cam"],
            r"two plugins provide explainer 'grad-cam': xai-cam 0\.1\.0 .* and Plug .passed",
        ),
        (Plug("Grad CAM"), "passed to the engine.* cannot be used: .*lower case with hyphens"),
    ],
)
def test_plugins_of_an_engine_that_cannot_be_are_one_error(plugins: Any, said: str) -> None:
    with pytest.raises(PluginError, match=said):
        xai.Engine(SmallCNN(), plugins=plugins)


def test_a_broken_plugin_that_an_engine_asks_for_is_an_error(environment: Environment) -> None:
    environment.install("their-cam", "1 / 0", "2.3")
    message = environment.error("xai.Engine(__import__('torch').nn.Identity(), plugins='their-cam')")
    error = "ZeroDivisionError: division by zero"
    assert message == f"PluginError: plugin their-cam 2.3 (their_cam) cannot be used: {error}"


def test_two_threads_each_look_in_the_plugins_of_their_engine() -> None:
    engines = [xai.Engine(SmallCNN().eval(), plugins=Plug(name)) for name in ("one-cam", "two-cam")]

    def work(i: int) -> list[str]:
        found = []
        for _ in range(20):
            found += engines[i].explain(three_images(), ["one-cam", "two-cam"][i])
            with pytest.raises(UnknownExplainerError):
                engines[i].explain(three_images(), ["two-cam", "one-cam"][i])
        return found

    with ThreadPoolExecutor(2) as pool:
        assert [set(found) for found in pool.map(work, range(2))] == [{"one-cam"}, {"two-cam"}]
    assert current() is registry()


def test_where_something_comes_from_is_known_by_its_class() -> None:
    class Mine(type(xai.create_explainer("grad-cam"))):
        pass

    assert origin(xai.create_explainer("grad-cam")) == "xai-cam 0.1.0"
    assert origin(xai.create_metric("deletion:steps=4")) == "xai-faithfulness 0.1.0"
    assert origin(xai.create_explainer("smoothed(grad-cam)")) == "xai-cam 0.1.0"
    assert origin(xai.create_explainer("smoothed(rollout)")) == "xai-cam 0.1.0 and xai-attention 0.1.0"
    assert origin(Mine()) == ""
    with looking_in(xai.Engine(SmallCNN(), plugins=Plug("own-cam")).plugins):
        assert origin(xai.create_explainer("own-cam")) == "Plug"


def test_the_contract_has_a_number() -> None:
    assert CONTRACT == 1
    assert type(CONTRACT) is int
