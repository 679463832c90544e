"""Scores of a map, against scikit-learn on the same pixels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from sklearn import metrics

import swath
from swath.errors import ConfigError, InputError, OutputError
from swath.verbs.map_scores import score
from swath.weights.file import load_meta


def pixels(chain: Any, columns: slice, least: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels and mapped values of the pixels that are scored, read without swath."""
    with rasterio.open(chain.map) as file:
        mapped, coverage = file.read(1), file.read(3)
    with rasterio.open(chain.land.labels) as file:
        labels = file.read(1)
    chosen = (labels != 0) & (coverage >= least)
    chosen[:, : columns.start] = False
    chosen[:, columns.stop :] = False
    return labels[chosen], mapped[chosen]


@pytest.mark.parametrize(("columns", "least"), [((80, 112), 100), ((0, 112), 100), ((0, 112), 50)])
def test_scores_equal_scikit_learns_on_the_same_pixels(
    chain: Any, columns: tuple[int, int], least: int
) -> None:
    truth, mapped = pixels(chain, slice(*columns), least)
    result = swath.evaluate(map=chain.map, **{**chain.scoring, "columns": list(columns)}, min_coverage=least)
    assert result.pixels == truth.size
    assert result.overall_accuracy == pytest.approx(metrics.accuracy_score(truth, mapped))
    assert result.macro_f1 == pytest.approx(metrics.f1_score(truth, mapped, average="macro"))
    assert result.miou == pytest.approx(metrics.jaccard_score(truth, mapped, average="macro"))
    assert result.scores["confusion"] == metrics.confusion_matrix(truth, mapped, labels=[3, 5, 9]).tolist()
    support = [row["support"] for row in result.scores["classes"]]
    assert support == [int((truth == v).sum()) for v in (3, 5, 9)]
    table = result.summary()
    assert all(name in table for name in ("forest", "town", "water", "precision"))


def test_the_file_holds_what_is_returned_and_is_not_replaced_unasked(chain: Any, tmp_path: Path) -> None:
    written = Path(chain.map).with_name("scores.json")
    assert json.loads(written.read_text()) == json.loads(json.dumps(chain.evaluated.scores))
    path = tmp_path / "scores.json"
    path.write_text("mine")
    with pytest.raises(OutputError, match="exists; give another name"):
        swath.evaluate(map=chain.map, **chain.scoring, output=str(path))
    assert path.read_text() == "mine"
    swath.evaluate(map=chain.map, **chain.scoring, output=str(path), overwrite=True)
    assert json.loads(path.read_text())["classes"]
    with pytest.raises(OutputError, match="is one of the inputs"):
        swath.evaluate(map=chain.map, **chain.scoring, output=chain.map, overwrite=True)


def test_a_pixel_that_was_not_mapped_is_no_pixel_to_leave_out(chain: Any) -> None:
    labels = np.zeros((2, 3), np.int64)
    predicted = np.array([[0, 0, -1], [0, 1, 0]])
    where = np.ones((2, 3), bool)
    with pytest.raises(InputError, match="1 pixel to be scored without a map"):
        score(predicted, labels, where, (), ("a", "b"))
    assert score(predicted, labels, where, (0, 2), ("a", "b")).overall_accuracy == 0.75
    where[0, 2] = False
    assert score(predicted, labels, where, (), ("a", "b")).count == 5


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"columns": [112, 200]}, "no labelled pixel is left to score"),
        ({"columns": [5, 5]}, "is no range of columns"),
        ({"min_coverage": 0}, "min_coverage: is 0"),
        ({"date": "2020-06-01"}, "date: .* is one map for all dates; leave it out"),
        ({"ignore": [3, 5, 9]}, "holds no labelled pixel"),
        (
            {"classes": [{"value": 3, "name": "forest", "color": [0, 0, 0]}]},
            "unknown label values: 5, 9|holds",
        ),
    ],
)
def test_what_cannot_be_scored_is_said(chain: Any, change: dict[str, Any], words: str) -> None:
    with pytest.raises((ConfigError, InputError), match=words):
        swath.evaluate(map=chain.map, **{**chain.scoring, **change})


def test_a_map_brings_its_legend_and_says_what_was_learned_from(chain: Any) -> None:
    from swath.verbs.map_scores import read_tags

    classes, never_seen = read_tags(chain.predicted.map)
    meta = load_meta(chain.finetuned.weights)
    assert [(c.value, c.name, c.hex) for c in classes] == [(c.value, c.name, c.colour) for c in meta.classes]
    assert never_seen == meta.provenance["east_start"]
    whole = swath.evaluate(map=chain.predicted.map, labels=chain.land.labels)
    assert f"never saw columns from {never_seen} on" in whole.summary()
    east = swath.evaluate(map=chain.predicted.map, labels=chain.land.labels, columns=[never_seen, 112])
    assert "training saw" not in east.summary()
