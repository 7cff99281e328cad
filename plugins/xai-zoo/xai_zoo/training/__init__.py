"""Training of any model source on the images of any dataset source."""
