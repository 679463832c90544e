"""The embedded real sample: see ATTRIBUTION.md beside this file for origin, licence and changes."""
