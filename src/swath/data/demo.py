"""The embedded sample, opened: a Landsat scene with land classes, and six BigEarthNet patches.

Origin and licences are in `swath/demo_data/ATTRIBUTION.md`.
"""

from __future__ import annotations

from swath.data.legend import LandClass

NC_BANDS = ("B1", "B2", "B3", "B4", "B5", "B7")
SERIES_BANDS = ("B3", "B4", "B5")
NC_CLASSES = (
    LandClass(1, "developed", (215, 48, 39)),
    LandClass(2, "agriculture", (246, 213, 92)),
    LandClass(3, "herbaceous", (178, 223, 138)),
    LandClass(4, "shrubland", (166, 118, 29)),
    LandClass(5, "forest", (27, 120, 55)),
    LandClass(6, "water", (43, 140, 190)),
    LandClass(7, "sediment", (217, 199, 160)),
)
