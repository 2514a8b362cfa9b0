"""Stands in for the package that is not installed here; see `interpreter`."""
