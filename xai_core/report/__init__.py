"""Reports: tables, figures, and the HTML page of `xai demo`."""
