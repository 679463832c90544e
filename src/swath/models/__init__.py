"""What learns: tokens, attention and blocks, and one small file per system (design §2)."""
