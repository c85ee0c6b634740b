"""A terminal cockpit for autonomous research."""

__version__ = "0.1.0"
