"""CORINE Land Cover as BigEarthNet uses it: 43 of the 44 level-3 classes, and their grouping into 19.

Codes and colours: CORINE Land Cover nomenclature (European Environment Agency). Grouping: Sumbul et al.,
"BigEarthNet-MM", IEEE GRSM 2021, table 2; eleven classes that cannot be told from Sentinel-2, or are rare, are in
no group.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from swath.data.labels import IGNORE
from swath.data.legend import LandClass
from swath.errors import InputError

LEVEL3 = (
    LandClass(111, "Continuous urban fabric", (230, 0, 77)),
    LandClass(112, "Discontinuous urban fabric", (255, 0, 0)),
    LandClass(121, "Industrial or commercial units", (204, 77, 242)),
    LandClass(122, "Road and rail networks and associated land", (204, 0, 0)),
    LandClass(123, "Port areas", (230, 204, 204)),
    LandClass(124, "Airports", (230, 204, 230)),
    LandClass(131, "Mineral extraction sites", (166, 0, 204)),
    LandClass(132, "Dump sites", (166, 77, 0)),
    LandClass(133, "Construction sites", (255, 77, 255)),
    LandClass(141, "Green urban areas", (255, 166, 255)),
    LandClass(142, "Sport and leisure facilities", (255, 230, 255)),
    LandClass(211, "Non-irrigated arable land", (255, 255, 168)),
    LandClass(212, "Permanently irrigated land", (255, 255, 0)),
    LandClass(213, "Rice fields", (230, 230, 0)),
    LandClass(221, "Vineyards", (230, 128, 0)),
    LandClass(222, "Fruit trees and berry plantations", (242, 166, 77)),
    LandClass(223, "Olive groves", (230, 166, 0)),
    LandClass(231, "Pastures", (230, 230, 77)),
    LandClass(241, "Annual crops associated with permanent crops", (255, 230, 166)),
    LandClass(242, "Complex cultivation patterns", (255, 230, 77)),
    LandClass(
        243,
        "Land principally occupied by agriculture, with significant areas of natural vegetation",
        (230, 204, 77),
    ),
    LandClass(244, "Agro-forestry areas", (242, 204, 166)),
    LandClass(311, "Broad-leaved forest", (128, 255, 0)),
    LandClass(312, "Coniferous forest", (0, 166, 0)),
    LandClass(313, "Mixed forest", (77, 255, 0)),
    LandClass(321, "Natural grassland", (204, 242, 77)),
    LandClass(322, "Moors and heathland", (166, 255, 128)),
    LandClass(323, "Sclerophyllous vegetation", (166, 230, 77)),
    LandClass(324, "Transitional woodland/shrub", (166, 242, 0)),
    LandClass(331, "Beaches, dunes, sands", (230, 230, 230)),
    LandClass(332, "Bare rock", (204, 204, 204)),
    LandClass(333, "Sparsely vegetated areas", (204, 255, 204)),
    LandClass(334, "Burnt areas", (0, 0, 0)),
    LandClass(411, "Inland marshes", (166, 166, 255)),
    LandClass(412, "Peatbogs", (77, 77, 255)),
    LandClass(421, "Salt marshes", (204, 204, 255)),
    LandClass(422, "Salines", (230, 230, 255)),
    LandClass(423, "Intertidal flats", (166, 166, 230)),
    LandClass(511, "Water courses", (0, 204, 242)),
    LandClass(512, "Water bodies", (128, 242, 230)),
    LandClass(521, "Coastal lagoons", (0, 255, 166)),
    LandClass(522, "Estuaries", (166, 255, 230)),
    LandClass(523, "Sea and ocean", (230, 242, 255)),
)
# Name of a group -> codes of its classes, in the order of the published class numbers.
GROUPS: dict[str, tuple[int, ...]] = {
    "Urban fabric": (111, 112),
    "Industrial or commercial units": (121,),
    "Arable land": (211, 212, 213),
    "Permanent crops": (221, 222, 223, 241),
    "Pastures": (231,),
    "Complex cultivation patterns": (242,),
    "Land principally occupied by agriculture, with significant areas of natural vegetation": (243,),
    "Agro-forestry areas": (244,),
    "Broad-leaved forest": (311,),
    "Coniferous forest": (312,),
    "Mixed forest": (313,),
    "Natural grassland and sparsely vegetated areas": (321, 333),
    "Moors, heathland and sclerophyllous vegetation": (322, 323),
    "Transitional woodland, shrub": (324,),
    "Beaches, dunes, sands": (331,),
    "Inland wetlands": (411, 412),
    "Coastal wetlands": (421, 422),
    "Inland waters": (511, 512),
    "Marine waters": (521, 522, 523),
}
_BY_CODE = {c.value: c for c in LEVEL3}
NAMES_43 = tuple(c.name for c in LEVEL3)
NAMES_19 = tuple(GROUPS)
CLASSES_43 = tuple(LandClass(i, c.name, c.color) for i, c in enumerate(LEVEL3))
CLASSES_19 = tuple(LandClass(i, name, _BY_CODE[GROUPS[name][0]].color) for i, name in enumerate(NAMES_19))
GROUP_OF: dict[str, int] = {
    _BY_CODE[code].name: i for i, codes in enumerate(GROUPS.values()) for code in codes
}
"""Name of a level-3 class -> number of its group; classes that are in none are not there."""
DROPPED = tuple(c.name for c in LEVEL3 if c.name not in GROUP_OF)
# Glaciers, and the CLC raster's own codes for what is not classified.
_NO_CLASS = (0, 335, 990, 995, 999)


def multi_hot(names: Sequence[str], count: int, where: object) -> npt.NDArray[np.int64]:
    """Zeros and ones [43] or [19] from level-3 names; or [19] from names of groups.

    With 19, classes that are in no group are left out, as published.

    Raises:
        InputError: a name is unknown.
    """
    target = np.zeros(count, np.int64)
    unknown = []
    for name in names:
        if count == len(NAMES_43) and name in NAMES_43:
            target[NAMES_43.index(name)] = 1
        elif count == len(NAMES_19) and name in GROUP_OF:
            target[GROUP_OF[name]] = 1
        elif count == len(NAMES_19) and name in NAMES_19:
            target[NAMES_19.index(name)] = 1
        elif not (count == len(NAMES_19) and name in DROPPED):
            unknown.append(name)
    if unknown:
        raise InputError(
            f"names unknown classes: {', '.join(unknown)}",
            where=where,
            mend="use the CORINE names of BigEarthNet",
        )
    return target


def groups_of_codes(codes: npt.NDArray[np.generic], where: object) -> npt.NDArray[np.int64]:
    """Numbers of groups [H,W] from CLC codes (111 … 523); IGNORE where the class is in no group.

    Raises:
        InputError: a number is no CLC code.
    """
    found = np.full(codes.shape, IGNORE, np.int64)
    for i, members in enumerate(GROUPS.values()):
        found[np.isin(codes, members)] = i
    strange = np.setdiff1d(codes, [*_BY_CODE, *_NO_CLASS])
    if strange.size:
        shown = ", ".join(str(v) for v in strange[:10].tolist())
        raise InputError(
            f"holds numbers that are no CORINE codes: {shown}", where=where, mend="use the published map"
        )
    return found
