"""Pixels to the device: feeds whose samples are pure functions of (seed, number), augmentation in batches."""
