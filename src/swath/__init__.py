"""swath: maps from raw multispectral, multi-temporal satellite imagery and a few labels."""

__version__ = "0.1.0"
