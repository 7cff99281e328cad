"""Guards around plugin calls: side effects are undone and reported, time limits apply, errors name their plugin."""
