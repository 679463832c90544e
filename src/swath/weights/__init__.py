"""Files of weights: safetensors with contract, converters of published checkpoints, export, hub."""
