"""One file per published layout."""
