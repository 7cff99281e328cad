"""What is explained: a class, a contrast of classes, a region, or an embedding similarity."""
