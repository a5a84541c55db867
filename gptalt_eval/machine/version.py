"""The version, for whoever names it."""

__version__ = "0.1.0"
