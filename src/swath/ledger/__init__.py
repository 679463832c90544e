"""What equals what: fast and slow paths, ours and the published codes."""
