"""Running it: Lightning modules, optimisers and schedules, checkpoints, precision, the throughput meter."""
