"""What keeps a plugin from changing the model or ending a run."""
