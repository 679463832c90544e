"""The two small files beside a map with which desktop programs show classes by name and colour."""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree import ElementTree as Xml

from swath.data.legend import LandClass


def category_names(classes: Sequence[LandClass], bands: Sequence[int] = (1,)) -> str:
    """GDAL's side file (`map.tif.aux.xml`): the name of every value of the bands of classes, empty where there is no
    class.
    """
    root = Xml.Element("PAMDataset")
    by_value = {c.value: c.name for c in classes}
    for band in bands:
        names = Xml.SubElement(Xml.SubElement(root, "PAMRasterBand", band=str(band)), "CategoryNames")
        for value in range(max(by_value) + 1):
            Xml.SubElement(names, "Category").text = by_value.get(value, "")
    return _text(root)


def qgis(classes: Sequence[LandClass]) -> str:
    """QGIS's style (`map.qml`), which it takes up by itself: band 1 in the legend's colours and names."""
    root = Xml.Element("qgis", version="3.22", styleCategories="Symbology")
    pipe = Xml.SubElement(root, "pipe")
    renderer = Xml.SubElement(
        pipe, "rasterrenderer", type="paletted", band="1", opacity="1", alphaBand="-1", nodataColor=""
    )
    entries = Xml.SubElement(renderer, "colorPalette")
    for c in classes:
        Xml.SubElement(entries, "paletteEntry", value=str(c.value), color=c.hex, alpha="255", label=c.name)
    return _text(root)


def _text(root: Xml.Element) -> str:
    Xml.indent(root)
    return Xml.tostring(root, encoding="unicode") + "\n"
