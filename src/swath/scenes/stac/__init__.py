"""What a map says of itself to a catalogue: a STAC item beside it, with the model's metadata."""

from swath.scenes.stac.item import MapFacts, item_text

__all__ = ["MapFacts", "item_text"]
