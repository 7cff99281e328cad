"""Models of other libraries to examine, one file per library."""
