"""Learning with labels: heads' losses and metrics over a whole set."""
