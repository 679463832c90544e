"""Published checkpoints to swath's parameter names, one file per system."""
