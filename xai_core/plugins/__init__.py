"""How plugins are found, loaded and looked up by name."""
