"""Loads the hooks and fixtures that the tests of the core and of the plugins share."""

pytest_plugins = [
    "support.garbage",  # before PyTorch is imported
    "support.browser",
    "support.fixtures",
    "support.annotated_datasets",
    "support.misbehaving",
    "support.pictures",
]
