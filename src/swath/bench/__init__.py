"""How fast: throughput and memory against the machine's limit and the plain form (design §5)."""
