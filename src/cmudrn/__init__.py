"""CMUDRN: removes rain and snow from a single picture, blindly."""

__version__ = "0.1.0"
