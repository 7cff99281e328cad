"""Figures of a run's page. Each function returns a figure of matplotlib, drawn without a display."""
