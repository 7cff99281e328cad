"""Trains the models of any source on the pictures of any data source."""
