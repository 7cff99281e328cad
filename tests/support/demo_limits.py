"""Limits of `xai demo`: its time on two cores, and the size of its page."""

MOST_SECONDS = 60
MOST_BYTES = 4 << 20
MOST_PIXELS = 8000
"""Height of the page in a window 1400 pixels wide, with skipped methods folded."""
