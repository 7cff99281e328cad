"""Failures with tests of their own: of packages, names, sources, datasets, constructors and leaks.

The key of each case is the name of its test.
"""

from support.misbehavior.case import Kind, Misbehavior
from xai_core.errors import PluginContractError, PluginError, TimeLimitError, WorkerError

REGISTRY = "tests/plugins/test_registry.py"
VALUES = "tests/isolation/test_returned_values.py"
SOURCES = "tests/benchmarking/test_source_isolation.py"
LEAKS = "tests/benchmarking/test_isolation.py"
PLANNING = "tests/benchmarking/test_planning.py"
IMAGE = "In a benchmark, the rows of this image contain the error, which names the {}."
CONSTRUCTOR = "The call. The exception has a note that names the plugin."


def _case(test: str, description: str, error: type[Exception] | None, cost: str) -> Misbehavior:
    return Misbehavior(None, description, error, cost=cost, key=test)


def _of_image(test: str, subject: str, named: str) -> tuple[Misbehavior, ...]:
    deeds = {
        "raise": ("raises an exception", RuntimeError),
        "exit": ("exits", PluginContractError),
        "loop": ("loops", TimeLimitError),
    }
    return tuple(
        _case(f"{test}[{key}]", f"It is {subject} that {deed} for an image.", error, IMAGE.format(named))
        for key, (deed, error) in deeds.items()
    )


_CASES = {
    REGISTRY: (
        _case(
            "test_a_plugin_for_another_xai_core_is_not_imported",
            "It requires another version of xai-core.",
            None,
            "All plugins of the package. `xai list plugins` lists it with the reason.",
        ),
        _case(
            "test_a_name_given_twice_is_an_error_that_names_both",
            "It registers a name that another plugin also registers.",
            PluginError,
            "All plugins, until you select plugins with `XAI_PLUGINS` or `plugins=`.",
        ),
        _case(
            "test_a_misspelled_hook_is_an_error",
            "It implements an unknown hook.",
            PluginError,
            "All plugins, until you select plugins with `XAI_PLUGINS` or `plugins=`.",
        ),
    ),
    VALUES: (
        _case(
            "test_names_are_words_with_hyphens",
            "It is an object whose name is not lower case with hyphens.",
            PluginContractError,
            "The call.",
        ),
        _case("test_specs_are_texts", "It is an object whose spec is not a string.", PluginContractError, "The call."),
        _case(
            "test_sources_return_models_and_data",
            "It is a source that does not return a `LoadedModel` or a dataset.",
            PluginContractError,
            "The model or dataset.",
        ),
        _case(
            "test_names_of_models_are_texts",
            "It is a source whose names are not a sequence of strings.",
            PluginContractError,
            "The models of the source are not listed.",
        ),
    ),
    SOURCES: (
        *_of_image("test_a_dataset_that_misbehaves_loses_one_image", "a dataset", "dataset"),
        *_of_image("test_preprocessing_that_misbehaves_names_the_model", "a preprocessing", "model"),
        _case(
            "test_a_source_that_raises_is_named",
            "It is a source that raises an exception when it loads a model or dataset.",
            RuntimeError,
            CONSTRUCTOR,
        ),
        _case(
            "test_a_constructor_that_raises_is_named",
            "It is a method or metric whose constructor raises an exception.",
            RuntimeError,
            CONSTRUCTOR,
        ),
        _case(
            "test_constructors_and_properties_that_misbehave_are_skipped",
            "It is a method or metric whose constructor or properties fail, and a benchmark requests `all`.",
            None,
            "The benchmark skips it, with the reason.",
        ),
    ),
    LEAKS: (
        _case(
            "test_what_keeps_tensors_is_found_and_set_aside",
            "It keeps tensors in memory.",
            None,
            "A benchmark detects this and skips the method or metric.",
        ),
    ),
    PLANNING: (
        _case(
            "test_a_model_that_ends_the_process_costs_its_own_rows",
            "It is a model that ends the process when it is loaded or probed.",
            WorkerError,
            "In a benchmark, all rows of this model.",
        ),
        _case(
            "test_the_only_model_and_the_dataset_are_one_error",
            "It is a dataset or the only model, and ends the process when it is loaded.",
            WorkerError,
            "The benchmark, which writes nothing.",
        ),
        _case(
            "test_all_skips_a_method_or_metric_that_ends_the_process",
            "It is a method or metric whose constructor ends the process, and a benchmark requests `all`.",
            None,
            "The benchmark skips it, with the reason.",
        ),
    ),
}
OTHERS = Kind(
    "others",
    "Other failures",
    "",
    tuple(case for cases in _CASES.values() for case in cases),
    tests=tuple(_CASES),
)
