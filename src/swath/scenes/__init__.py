"""Maps of any size: source → windows → contract → model → blend → sink, block by block in constant memory.

What other code needs is here by name, imported when asked for: `Engine`, `Adapted`, `predict_scene`, `make_plan`,
`CogSink`, `MemorySink`, `ClassLayers`, `ValueLayers`, `LabelLayers`.
"""

from typing import Any

_HOME = {
    "Engine": "engine",
    "Adapted": "adapter",
    "predict_scene": "mapping",
    "make_plan": "windows",
    "CogSink": "sink",
    "MemorySink": "sink",
    "ClassLayers": "layers",
    "ValueLayers": "layers",
    "LabelLayers": "layers",
}
__all__ = [*_HOME]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'swath.scenes' has no attribute '{name}'")
    import importlib

    return getattr(importlib.import_module(f"swath.scenes.{_HOME[name]}"), name)
