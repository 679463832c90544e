"""Draw docs/images/demo.png, the README's picture, from the results of a demo.

python tools/readme_picture.py runs/demo docs/images/demo.png
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from swath.data.demo import open_demo_landsat
from swath.data.gdal import open_raster
from swath.report.figures import stretch
from swath.verbs.map_scores import read_map

EAST = 244  # first column that training never saw


def main(run: Path, target: Path) -> None:
    """Draws the picture."""
    demo = open_demo_landsat()
    names = [b.name for b in demo.cube.bands]
    index = [names.index(b) for b in ("B5", "B4", "B3")]
    values, known, _, _ = read_map(str(run / "map.tif"))
    source = open_raster(str(run / "map.tif"))
    confidence = np.ma.masked_equal(source.read(2), 255)
    source.close()
    colors = np.full((256, 3), 255, np.uint8)
    for c in demo.classes:
        colors[c.value] = c.color
    reference = np.full(demo.labels.shape, 255, np.uint8)
    for i, c in enumerate(demo.classes):
        reference[demo.labels == i] = c.value

    figure = Figure(figsize=(12.8, 3.6), dpi=100)
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, 4)
    axes[0].imshow(stretch(demo.cube.pixels[0, index], demo.cube.valid[0, index]), interpolation="nearest")
    axes[1].imshow(colors[reference], interpolation="nearest")
    axes[2].imshow(colors[np.where(known, values, 255)], interpolation="nearest")
    shown = axes[3].imshow(confidence, vmin=0, vmax=100, cmap="viridis", interpolation="nearest")
    titles = ("Landsat 7, 2000 (bands 5, 4, 3)", "land classes of 1996", "map", "confidence")
    for ax, title in zip(axes, titles, strict=True):
        ax.set_title(title, fontsize=10)
        ax.set(xticks=[], yticks=[])
        ax.spines[:].set_visible(False)
        ax.axvline(EAST, color="white", linewidth=1.2, linestyle=(0, (4, 3)))
    axes[3].spines[:].set_visible(False)
    scale = figure.add_axes((0.775, 0.085, 0.2, 0.03))
    bar = figure.colorbar(shown, cax=scale, orientation="horizontal", ticks=[0, 50, 100])
    bar.outline.set_visible(False)
    scale.set_xticklabels(["0", "50", "100 %"], fontsize=8)
    handles = [Patch(facecolor=c.hex, label=c.name) for c in demo.classes]
    figure.legend(
        handles=handles, loc="lower center", ncols=7, fontsize=9, frameon=False, bbox_to_anchor=(0.43, 0.0)
    )
    figure.subplots_adjust(left=0.005, right=0.995, top=0.92, bottom=0.14, wspace=0.03)
    target.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(target, metadata={"Software": None})


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
