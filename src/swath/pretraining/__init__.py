"""Learning without labels: masks, targets and objectives (design §2)."""
