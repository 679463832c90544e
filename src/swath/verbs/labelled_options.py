"""Options of data with labels: a scene, or records of a layout or shards. No torch here."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from swath.data.legend import LandClass
from swath.data.part_spec import PartsSpec
from swath.data.spec import SceneSpec
from swath.errors import ConfigError
from swath.verbs.data_folder import named_source
from swath.verbs.options import LayoutOptions, NormaliseOptions

VECTOR_FILES = (".gpkg", ".geojson", ".json", ".shp", ".fgb")
"""Labels in such files are points and polygons."""
TaskName = Literal["classification", "multilabel", "segmentation", "regression", "change"]


@dataclass(frozen=True, kw_only=True)
class RecordData:
    """Records with labels, from a layout or from shards.

    Attributes:
        layout: a data set that is read into memory, part by part.
        shards: folders or addresses that `swath pack` wrote; their records are read as they are needed.
        parts: what teaches, what selects and what scores.
        task: of its targets, where a data set has several; empty: its own.
        cube: of records with several sensors: which.
        bands: those to learn from, by name; empty: all, or those that pretrained weights ask for.
        classes: value, name and colour of each class; left out: the data set's own.
        ignore: values of classes that mean "no label"; of a scene: values of the label raster.
        label_fraction: share of the train part's records to learn from; a smaller one lies within a larger one.
        label_seed: which records those are; the same for every method.
        dates: how many dates of a series a sample takes: while learning drawn anew, else evenly spread; 0: all.
        draw: while learning: "records", each once per epoch, by one crop; "windows", all places of all records alike.
        window: side of the training windows, pixels; records that are smaller are filled up with invalid pixels.
        min_valid: least share of valid pixels in a training window (draw: windows).
        need_label: draw only windows that hold a label, for sparse labels (draw: windows).
        normalise: how values are scaled, if no pretrained weights say so; "fixed" statistics are those of the train
            part alone, and go into the weights.
    """

    layout: LayoutOptions | None = None
    shards: tuple[str, ...] = ()
    parts: PartsSpec = field(default_factory=PartsSpec)
    task: TaskName | Literal[""] = ""
    cube: str = ""
    bands: tuple[str, ...] = ()
    classes: tuple[LandClass, ...] = ()
    ignore: tuple[int, ...] = ()
    label_fraction: float = 1.0
    label_seed: int = 0
    dates: int = 0
    draw: Literal["records", "windows"] = "records"
    window: int = 96
    min_valid: float = 0.25
    need_label: bool = True
    normalise: NormaliseOptions = field(default_factory=lambda: NormaliseOptions(scope="fixed"))

    @classmethod
    def of_text(cls, text: str) -> dict[str, Any]:
        """FOLDER is short for the layout of its dataset.yaml, or for its shards."""
        # What a recipe named before is replaced, not added to.
        return {"shards": [], "layout": None, **named_source(text)}

    def __post_init__(self) -> None:
        self._check_source()
        if self.window < 1:
            raise ConfigError(f"is {self.window}", where="data.window", mend="give a number of pixels")
        if not 0 <= self.min_valid <= 1:
            raise ConfigError(f"is {self.min_valid}", where="data.min_valid", mend="give a share from 0 to 1")
        if not 0 < self.label_fraction <= 1:
            raise ConfigError(
                f"is {self.label_fraction}", where="data.label_fraction", mend="give a share above 0, up to 1"
            )
        if self.dates < 0:
            raise ConfigError(f"is {self.dates}", where="data.dates", mend="give 0, or a number of dates")
        if self.dates and self.draw != "windows":
            raise ConfigError("needs windows", where="data.dates", mend="set data.draw to windows")
        if self.shards and self.draw == "windows":
            raise ConfigError(
                "windows are drawn of records in memory",
                where="data.draw",
                mend="give a layout, or draw records",
            )

    @property
    def short_name(self) -> str:
        """The layout, or the folders of the shards."""
        if self.layout is not None:
            return self.layout.name
        return ", ".join(Path(source).name for source in self.shards)

    @property
    def ignored_classes(self) -> tuple[int, ...]:
        """Values of those of the data set's classes that mean "no label"."""
        return self.ignore

    def _check_source(self) -> None:
        if (self.layout is None) == (not self.shards):
            what = "a layout and shards" if self.shards else "no data"
            raise ConfigError(
                f"data names {what}", where="data", mend="give one of data.layout and data.shards"
            )
        if self.normalise.columns:
            raise ConfigError(
                "columns are those of scenes", where="data.normalise.columns", mend="leave them out"
            )


@dataclass(frozen=True)
class LabelledData(RecordData):
    """A scene with labels per pixel, or records of a layout or shards.

    Attributes:
        scene: a raster. Without `parts` it is divided by columns; with them its windows that hold a label are records,
            `window` pixels wide, which are divided as `parts` say.
        labels: a raster of class values on the scene's grid; most pixels may be unlabelled. "demo:landclass" and
            "demo:labelled-pixels" are embedded. Or, with `attribute`, a file of points and polygons (GeoPackage,
            GeoJSON, Shapefile) in any reference system. Of a folder of one's own: in place of what its dataset.yaml
            says, a pattern of rasters in it, such as "labels/{place}.tif", vectors with `attribute`, or a csv; vectors
            may have `classes` left out, which are then what the column holds.
        validation: of a scene divided by columns: width of the validation block; 0: as wide as the window.
        east_start: the same: first column of the part that training never sees; 0: the middle of the scene. West of
            it lie a buffer as wide as the window, the validation block, and the columns to learn from.
        attribute: of labels in a file of vectors: the column that says the class, by value or name.
        layer: of such a file, if it holds several.
        touch: pixels that a polygon labels: those whose "centre" it holds, or "all" that it touches; null: as
            dataset.yaml says, else "centre".
        overlap: where polygons of two classes claim a pixel: "error", the "first" or "last" of the file, or
            "ignore"; null: as dataset.yaml says, else "error".
    """

    scene: SceneSpec | None = None
    labels: str = ""
    validation: int = 0
    east_start: int = 0
    attribute: str = ""
    layer: str = ""
    touch: Literal["centre", "all"] | None = None
    overlap: Literal["error", "first", "last", "ignore"] | None = None

    @classmethod
    def of_text(cls, text: str) -> dict[str, Any]:
        """FOLDER is short for the layout of its dataset.yaml, or for its shards."""
        return {**super().of_text(text), "scene": None}

    @property
    def by_columns(self) -> bool:
        """Whether a whole scene teaches, selects and scores, by its columns."""
        return self.scene is not None and self.parts == PartsSpec()

    @property
    def short_name(self) -> str:
        """The scene's first file, the layout, or the folders of the shards."""
        return super().short_name if self.scene is None else Path(self.scene.name).name

    @property
    def ignored_classes(self) -> tuple[int, ...]:
        """None where `labels` are named: there, `ignore` are values of them that are no classes."""
        return () if self.labels else self.ignore

    def _check_source(self) -> None:
        if self.scene is None:
            self._check_records()
        else:
            self._check_scene()

    def _check_records(self) -> None:
        if self.layout is None and not self.shards:
            raise ConfigError(
                "data names no data",
                where="data",
                mend="give one of data.scene (with data.labels), data.layout and data.shards",
            )
        super()._check_source()
        own = self.layout is not None and self.layout.name == "folder"
        for name in ("labels", "attribute", "layer"):
            if getattr(self, name) and not own:
                raise ConfigError(
                    "is for scenes and folders of one's own",
                    where=f"data.{name}",
                    mend="leave it out: these data have their labels",
                )
        for name in ("attribute", "layer"):
            if getattr(self, name) and not self.labels:
                raise ConfigError("is of data.labels", where=f"data.{name}", mend="name the file of vectors")
        for name in ("validation", "east_start"):
            if getattr(self, name):
                raise ConfigError("is for scenes", where=f"data.{name}", mend="see data.parts")

    def _check_scene(self) -> None:
        if self.layout is not None or self.shards:
            raise ConfigError("data names a scene and records", where="data", mend="give one of them")
        if not self.labels:
            raise ConfigError(
                "a scene needs labels", where="data.labels", mend="name a raster of classes, or vectors"
            )
        if bool(self.attribute) != (Path(self.labels).suffix.lower() in VECTOR_FILES):
            raise ConfigError(
                "names a column, and the labels are no vectors" if self.attribute else "is missing",
                where="data.attribute",
                mend=f"say which column names the class of labels in {', '.join(VECTOR_FILES)}, and only there",
            )
        for name in ("task", "cube", "bands"):
            if getattr(self, name):
                raise ConfigError(
                    "is for layouts and shards", where=f"data.{name}", mend="leave it out, or see data.scene"
                )
        if self.by_columns and self.label_fraction != 1:
            raise ConfigError(
                "a share is one of records, and columns are none",
                where="data.label_fraction",
                mend="divide the scene by data.parts",
            )
        for name in ("validation", "east_start"):
            if getattr(self, name) < 0:
                raise ConfigError(
                    f"is {getattr(self, name)}", where=f"data.{name}", mend="give a number of columns"
                )
            if getattr(self, name) and not self.by_columns:
                raise ConfigError(
                    f"divides by columns, and data.parts by {self.parts.by}",
                    where=f"data.{name}",
                    mend="give one of them",
                )
        if self.normalise.scope != "fixed" or self.normalise.columns:
            raise ConfigError(
                "statistics are always those of the pixels to learn from, since others would show the network "
                "what it is scored on",
                where="data.normalise",
                mend="leave scope and columns out",
            )


@dataclass(frozen=True)
class OptionalData(LabelledData):
    """A scene with labels per pixel, records of a layout or shards, or nothing."""

    def _check_source(self) -> None:
        if self.given or self.labels:
            super()._check_source()

    @property
    def given(self) -> bool:
        """Whether there are any data."""
        return self.scene is not None or self.layout is not None or bool(self.shards)
