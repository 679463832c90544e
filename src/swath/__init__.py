"""swath: maps from raw multispectral, multi-temporal satellite imagery and a few labels.

    import swath

    mae = swath.pretrain("demo-pretrain-st-swin", run={"folder": "runs/mae"})
    unet = swath.finetune("demo-finetune", run={"folder": "runs/unet"}, weights=mae.weights)
    swath.predict("demo-predict", weights=unet.weights, output="map.tif")
    print(swath.evaluate(map="map.tif", labels="demo:landclass", columns=(244, 489)).summary())

The functions are those of `swath.api`; importing swath loads none of what they need.
"""

from typing import Any

__version__ = "0.1.0"

# Without `swath.api.ledger`: `swath.ledger` is the package of that name, whichever of the two was asked for first.
_VERBS = (
    "baseline", "calibrate", "card", "convert", "demo", "embed", "evaluate", "finetune", "inspect", "pack", "predict",
    "pretrain", "probe",
)  # fmt: skip
__all__ = ["__version__", *_VERBS]


def __getattr__(name: str) -> Any:
    if name not in _VERBS:
        raise AttributeError(f"module 'swath' has no attribute '{name}'")
    # By name, not by an import statement: rooms below ask this package for its version, and would then
    # seem to import the verbs. Type checkers read __init__.pyi.
    import importlib

    verb = getattr(importlib.import_module("swath.api"), name)
    globals()[name] = verb
    return verb


def __dir__() -> list[str]:
    return sorted({*globals(), *_VERBS})
