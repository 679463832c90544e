"""Maps of any size: source → windows → contract → model → blend → sink, block by block in constant memory."""
