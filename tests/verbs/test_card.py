"""The card: what it plans, how it judges, what its page says; and whole cards on folders of one's own."""

from __future__ import annotations

import contextlib
import html
import io
import json
import math
import re
from collections.abc import Container
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import own_folder
import planted_sets as sets
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swath.cli import main
from swath.data.legend import LandClass
from swath.data.part_spec import PartsSpec
from swath.data.split_parts import Box, Located
from swath.errors import ConfigError, InputError, OutputError, SwathError
from swath.report.panels import in_colours
from swath.verbs import card_maps as card_maps_module
from swath.verbs import card_page as card_page_module
from swath.verbs import run_many
from swath.verbs.card import CardConfig, run
from swath.verbs.card_maps import Maps, draw_maps, draw_worst, drawn_rows
from swath.verbs.card_page import card_page, curve_points
from swath.verbs.card_plan import Cell, Look, cell_runs, plan
from swath.verbs.card_scores import Scored, best_encoder, collect, said
from swath.verbs.card_split import SHARES, best_block, settle
from swath.verbs.config import load_config
from swath.verbs.labelled_options import LabelledData
from swath.verbs.labelled_records import open_part
from swath.verbs.options import LayoutOptions
from swath.verbs.run_many import Answer, Run

CLASSES = (LandClass(0, "land", (200, 180, 120)), LandClass(1, "water", (40, 110, 220)))
MAPS = Look("segmentation", True, CLASSES, True)
ROWS = {
    ("majority", ""): (0.3, None), ("forest", ""): (0.5, None), ("scratch", ""): (0.6, 0.6),
    ("probe", "mae"): (0.55, 0.7), ("lora", "mae"): (0.7, 0.65), ("full", "mae"): (0.6, 0.8),
}  # fmt: skip


def scored(rows: dict[tuple[str, str], tuple[float, float | None]] = ROWS, seeds: int = 3) -> list[Scored]:
    """Cells around these (test, validation) scores, 0.1 lower with a tenth of the labels."""
    found = []
    for (method, encoder), (test, validation) in rows.items():
        for share in (0.1, 1.0):
            for seed in range(seeds):
                name = f"{method}{encoder}{share}{seed}"
                cell = Cell(method, encoder, share, seed, (Run(name, ("evaluate", name)),))
                score = test - 0.1 * (share < 1) + 0.01 * (seed - (seeds - 1) / 2)
                found.append(
                    Scored(
                        cell,
                        score,
                        score - 0.05,
                        score + 0.05,
                        validation,
                        2.0,
                        10**8,
                        (("r1", 0.5),),
                        "9 blocks",
                    )
                )
    return found


def test_the_validation_part_chooses_and_the_line_is_honest() -> None:
    card = said(scored(), MAPS, "divided")
    # LoRA is best on the test part, which has no say.
    assert card.best == ("full", "mae") and card.better is False
    assert card.answer == (
        "no: the U-Net from scratch is at 0.60 ± 0.01, the best encoder (mae: fine-tuned) at 0.60 ± 0.01; "
        "the difference is within the spread"
    )
    better = said(scored({**ROWS, ("full", "mae"): (0.66, 0.8)}), MAPS, "divided")
    assert better.better is True and "yes: " in better.answer and "overlap" in better.answer
    apart = said(scored({**ROWS, ("full", "mae"): (0.8, 0.8)}), MAPS, "divided")
    assert apart.better is True and "overlap" not in apart.answer
    worse = said(scored({**ROWS, ("full", "mae"): (0.5, 0.8)}), MAPS, "divided")
    assert worse.better is False and "worse by more than the spread" in worse.answer
    forest = said(scored({**ROWS, ("forest", ""): (0.9, None)}), MAPS, "divided")
    assert forest.answer.endswith("and the random forest is at 0.90, above both")


def test_where_nothing_can_be_said_nothing_is() -> None:
    one = said(scored(seeds=1), MAPS, "divided")
    assert one.better is None and "one seed says nothing of the spread" in one.answer
    none = said([s for s in scored() if not s.cell.encoder], MAPS, "divided")
    assert (
        none.better is None and "no encoder was scored" in none.answer and "random forest 0.50" in none.answer
    )
    alone = said([s for s in scored() if s.cell.method != "scratch"], MAPS, "divided")
    assert alone.better is None and "was not scored beside it" in alone.answer
    assert best_encoder([s for s in scored() if s.cell.method == "scratch"]) is None


def without(rows: list[Scored], row: tuple[str, str], seeds: Container[int] = range(9)) -> list[Scored]:
    """The scores (and validations) of these seeds of a row have no value."""
    gone = {"score": math.nan, "validation": math.nan}
    return [replace(s, **gone) if s.row == row and s.cell.seed in seeds else s for s in rows]


def test_a_cell_without_a_value_is_counted_and_never_shown_as_a_number() -> None:
    some = said(without(scored(), ("scratch", ""), {1}), MAPS, "divided")
    assert "the U-Net from scratch is at 0.60 ± 0.01 (2 of 3 seeds)" in some.answer and some.better is False
    none = said(without(scored(), ("scratch", "")), MAPS, "divided")
    assert none.better is None and "U-Net from scratch no score" in none.answer
    ours = said(without(scored(), ("full", "mae")), MAPS, "divided")
    # The validation part has nothing to say of it: the next best is chosen.
    assert ours.best == ("probe", "mae") and ours.better is False
    left = without(scored(), ("forest", ""), {0, 1, 2})
    assert "above both" not in said(left, MAPS, "divided").answer
    leaked = [replace(s, cell=replace(s.cell, leak=True)) for s in left if s.row == ("forest", "")]
    empty = said([*left, *leaked[-1:]], MAPS, "divided")
    assert empty.leak == {}
    for card in (some, none, ours, empty):
        words = re.sub(r"data:image/png;base64,[^\"]+", "", card_page(card, [], {}).html())
        assert not re.search(r"\bnan\b", words) and not re.search(r"\bnan\b", card.answer)
        assert "NaN" not in json.dumps(card.to_dict())
    assert "random forest" not in curve_points(empty) and "mae: fine-tuned" in curve_points(empty)


@settings(max_examples=60)
@given(st.sets(st.tuples(st.sampled_from(sorted(ROWS)), st.integers(0, 2)), max_size=18))
def test_whatever_has_no_value_the_line_holds_no_nan(gone: set[tuple[tuple[str, str], int]]) -> None:
    rows = scored()
    for row, seed in gone:
        rows = without(rows, row, {seed})
    card = said(rows, MAPS, "divided")
    assert "nan" not in card.answer and card.answer.startswith(("yes: ", "no: ", "no answer: "))
    assert card.better is None or not {(card.best, 0), (card.best, 1)} <= gone


def test_the_page_shows_all_and_every_command() -> None:
    card = said(scored(), MAPS, "divided by blocks")
    card = replace(card, leak={"random forest": 0.31, "majority": 0.5})
    truth = in_colours(np.array([[0, 1], [-1, 0]]), CLASSES)
    off = (("mae: LoRA", 0.25), ("random forest", math.nan))
    one = Maps("r1", (("seen", truth), ("truth", truth)), off)
    made = card_page(card, [one], {"lora-mae": "lora-mae: it broke"}, folder="/home/me").html()
    words = re.sub(r"data:image/png;base64,[^\"]+", "", made)
    for cell in card.scored:
        assert cell.cell.runs[0].command in words
    for text in (
        "<strong>No</strong>: the U-Net", "+0.31", "flattered by up to 0.31", "it broke", "divided by blocks",
        "9 blocks", "Record r1. Share of labelled pixels that are wrong: mae: LoRA 0.25.", "<code>/home/me</code>",
        "mae: LoRA", "0.600 ± 0.010", "10 % of labels", "Where each fails", "water",
    ):  # fmt: skip
        assert text in words, text
    even = card_page(replace(card, leak={"random forest": -0.001}), [], {}).html()
    assert "+0.00" in even and "-0.00" not in even and "It flatters no method that learns" in even
    points = curve_points(card)["mae: LoRA"]
    assert points[0] == pytest.approx((0.1, 0.6, 0.55, 0.65)) and points[1][0] == 1.0
    table = card.to_dict()
    assert len(table["cells"]) == len(card.scored) and json.loads(json.dumps(table)) == json.loads(
        json.dumps(table)
    )
    assert table["cells"][0]["commands"] == [card.scored[0].cell.runs[0].command]


def test_memory_on_a_gpu_stands_beside_that_of_the_process_where_one_was_used() -> None:
    from swath.verbs.card_scores import cost_table

    plain = cost_table(said(scored(), MAPS, "divided"))
    assert "on the GPU" not in json.dumps(plain.to_dict())
    held = [replace(s, device_bytes=3 * 10**9 if s.cell.method == "full" else 0) for s in scored()]
    table = cost_table(said(held, MAPS, "divided"))
    assert "on the GPU, MB" in [metric.title for metric in table.metrics]
    shown = {row.name: row.values["device"] for row in table.rows}
    assert shown["mae: fine-tuned"] == 3000 and shown["random forest"] == 0
    assert {s.to_dict()["device_bytes"] for s in held} == {0, 3 * 10**9}


def boxes(n: int, side: float = 100.0, step: float = 500.0) -> list[Located]:
    places = [(i % 6 * step, i // 6 * step) for i in range(n)]
    return [
        Located(str(i), f"g{i % 7}", Box("p", x, y, x + side, y + side)) for i, (x, y) in enumerate(places)
    ]


def test_blocks_are_as_wide_as_loses_least() -> None:
    items = boxes(36)
    block = best_block(items)
    assert block > 200
    # Side by side and few: nothing can be kept apart.
    assert best_block(boxes(2)) == 0.0


def test_a_split_that_is_given_stays_and_is_named() -> None:
    data = LabelledData(
        layout=LayoutOptions("folder", "nowhere"), parts=PartsSpec(by="random", shares=SHARES)
    )
    assert settle(data, "auto") == (data, settle(data, "data")[1]) and "flatter" in settle(data, "auto")[1]
    official = LabelledData(layout=LayoutOptions("folder", "nowhere"))
    assert "own parts" in settle(official, "data")[1]


@pytest.fixture(scope="module")
def lakes(tmp_path_factory: pytest.TempPathFactory) -> tuple[LabelledData, str]:
    root = tmp_path_factory.mktemp("lakes")
    data = LabelledData(layout=LayoutOptions("folder", own_folder.lakes(root)), window=32)
    weights = sets.encoder_weights(root / "mae.safetensors", sets.contract(own_folder.BANDS, 32))
    return data, weights


def test_other_options_are_other_commands(lakes: Any, tmp_path: Path) -> None:
    data, weights = lakes
    config = CardConfig(str(tmp_path), data, (weights,), fractions=(1.0, 0.1), seeds=2, leak=True)

    def commands(config: CardConfig) -> dict[str, str]:
        return {r.name: r.command for r in cell_runs(plan(config, config.data, MAPS, tmp_path))}

    first = commands(config)
    # Majority and index draw nothing once all labels are there; networks are trained, then scored.
    assert len(first) == (3 + 3 + 4) + 2 * 4 + 2 * 4 + 2 * (2 * 4) + 3
    assert commands(config) == first
    longer = commands(replace(config, steps=7))
    changed = {name for name in first if first[name] != longer[name]}
    assert changed == {n for n in first if n.startswith(("scratch", "lora", "full"))}
    Path(weights).touch()
    assert commands(config) == first
    other = tmp_path / "mae.safetensors"
    other.write_bytes(Path(weights).read_bytes() + b"x")
    again = commands(replace(config, weights=(str(other),)))
    assert again["probe-mae-1-0"] != first["probe-mae-1-0"] and again["forest-1-0"] == first["forest-1-0"]
    assert {s for s in first if s.startswith("leak-")} == {
        "leak-majority-1-0",
        "leak-index-1-0",
        "leak-forest-1-0",
    }


def test_a_random_split_is_tried_where_it_says_something(lakes: Any, tmp_path: Path) -> None:
    data, _ = lakes
    parts = {
        "blocks": PartsSpec(by="blocks", block=900.0, shares=SHARES), "groups": PartsSpec(by="groups", shares=SHARES),
        "random": PartsSpec(by="random", shares=SHARES), "official": PartsSpec(),
    }  # fmt: skip

    def leaks(by: str, **options: Any) -> int:
        divided = replace(data, parts=parts[by])
        config = CardConfig(str(tmp_path), divided, seeds=1, **options)
        return sum(cell.leak for cell in plan(config, divided, MAPS, tmp_path))

    assert leaks("blocks") == leaks("groups") == 3 and leaks("blocks", methods=("forest", "scratch")) == 1
    assert leaks("random") == leaks("official") == leaks("blocks", fractions=(0.1,)) == 0
    assert leaks("blocks", leak=False) == 0 and leaks("official", leak=True) == 3


def test_a_cell_that_is_not_whole_is_left_out() -> None:
    runs = (Run("a.fit", ()), Run("a.score", (), ("a.fit",)))
    assert collect([Cell("scratch", "", 1.0, 0, runs)], {"a.fit": Answer({}, 1.0, 1)}, "segmentation") == []


def test_what_does_not_fit_is_said(lakes: Any, tmp_path: Path) -> None:
    data, _ = lakes
    for options, message in (
        ({"methods": ("probe",)}, "needs an encoder"), ({"seeds": 0}, "seeds"), ({"fractions": (0.0,)}, "fractions"),
        ({"fractions": (1.0, 1.0)}, "twice"), ({"leak": True, "fractions": (0.1,)}, "add 1 to fractions"),
        ({"data": replace(data, label_fraction=0.5)}, "what the card varies"),
    ):  # fmt: skip
        with pytest.raises(ConfigError, match=message):
            CardConfig(**{"folder": "x", "data": data, **options})
    with pytest.raises(SwathError, match="is no file"):
        run(CardConfig(str(tmp_path / "a"), data, ("none.safetensors",)))
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "note.txt").write_text("mine")
    with pytest.raises(OutputError, match="holds something"):
        run(CardConfig(str(tmp_path / "b"), data))
    assert not (tmp_path / "a").exists()


def inline(one: Run, folder: Path, threads: int) -> Answer:
    """The command in this process: what it says is the same, and starting it costs nothing."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        assert main([*one.words, "--json"]) == 0
    return Answer(json.loads(out.getvalue()), 1.0, 10**8)


def test_a_planted_leak_is_found_and_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_many, "_answer", inline)
    data = LabelledData(
        layout=LayoutOptions("folder", own_folder.planted_leak(tmp_path / "data", places=30, each=3))
    )
    config = CardConfig(
        str(tmp_path / "card"), data, methods=("majority", "forest"), fractions=(1.0,), seeds=1
    )
    found = run(config)
    table = json.loads((tmp_path / "card" / "table.json").read_text())
    assert "by blocks of the ground" in table["split"]
    honest = [c["score"] for c in table["cells"] if c["method"] == "forest"]
    assert found.leak is not None
    # Nobody can know the class of a place that was never seen; who saw its neighbour does.
    assert max(honest) < 0.75, table
    assert np.mean(honest) + found.leak["random forest"] > 0.95
    assert "a random split flatters the random forest by +0." in found.summary()
    assert "flatters the majority" not in found.summary()
    page = (tmp_path / "card" / "card.html").read_text()
    # Its worst records are shown, all with one answer each.
    assert (
        "random forest: the worst in their order, with their truth." in page and page.count("<figure>") == 2
    )
    assert "What a random split would have said" in page and f"{found.leak['random forest']:+.2f}" in page


def test_a_page_of_the_answers_that_are_there(
    lakes: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, _ = lakes
    config = CardConfig(
        str(tmp_path / "card"), data, methods=("majority", "index"), fractions=(0.5, 1.0), seeds=2, leak=False
    )
    with pytest.raises(InputError, match="is no folder of a card"):
        run(replace(config, kept=True))
    asked: list[str] = []

    def stopped(one: Run, folder: Path, threads: int) -> Answer:
        asked.append(one.name)
        if len(asked) > 2:
            raise KeyboardInterrupt
        found = inline(one, folder, threads)
        folder.mkdir(exist_ok=True)
        kept = {"key": one.key, "seconds": 1.0, "peak_bytes": 1, "result": found.result}
        (folder / f"{one.name}.json").write_text(json.dumps(kept))
        return found

    monkeypatch.setattr(run_many, "_answer", stopped)
    with pytest.raises(KeyboardInterrupt):
        run(config)
    assert not (tmp_path / "card" / "card.html").exists()
    found = run(replace(config, kept=True))
    assert found.cells == 2 and len(asked) == 3
    page = Path(found.page).read_text()
    assert "4 of 6 cells had no answer yet when this page was made." in page and "majority" in page
    with pytest.raises(InputError, match=r"answers: holds no answer to these options; leave out --kept"):
        run(replace(config, kept=True, data=replace(data, window=16)))


def test_one_scene_is_divided_by_blocks_of_its_ground(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_many, "_answer", inline)
    drawn: list[Any] = []
    monkeypatch.setattr(
        card_page_module, "draw_maps", lambda config, data, card: drawn.append((data, card)) or []
    )
    given = own_folder.scene(tmp_path)
    given |= {"labels": given["labels"].replace(".tif", ".geojson"), "attribute": "kind", "ignore": []}
    words = {"folder": str(tmp_path / "card"), "data": given, "methods": ["majority", "index"]}
    config = load_config(CardConfig, [], {**words, "fractions": [0.2, 1.0], "seeds": 2})
    run(config)
    table = json.loads((tmp_path / "card" / "table.json").read_text())
    assert "by blocks of the ground, with a buffer" in table["split"] and table["leak"]
    scores = {(c["method"], c["fraction"], c["seed"]): c["score"] for c in table["cells"]}
    assert scores["index", 1.0, 0] > 0.9 > scores["majority", 1.0, 0] and len(scores) == 2 * 3
    page = (tmp_path / "card" / "card.html").read_text()
    assert "swath baseline index" in page
    # No network was trained: the index draws what its command scored.
    maps = draw_maps(config, *drawn[-1])
    assert [name for name, _ in maps[0].pictures] == ["seen", "truth", "spectral index"]
    truth, answer = (dict(maps[0].pictures)[n] for n in ("truth", "spectral index"))
    assert (truth == answer).all(-1).mean() > 0.9
    # How far off each record is stands under its maps, as the command said it.
    (index,) = [c for c in table["cells"] if (c["method"], c["fraction"]) == ("index", 1.0)]
    told = dict(index["worst"])
    assert {m.id: dict(m.off)["spectral index"] for m in maps if m.id in told} == pytest.approx(
        {m.id: told[m.id] for m in maps if m.id in told}
    )
    assert maps[0].id == index["worst"][0][0]
    (mixed,) = [c for c in table["random_split"] if c["method"] == "index"]
    assert mixed["commands"][0] in html.unescape(page) and mixed["score"] - index["score"] == pytest.approx(
        table["leak"]["spectral index"]
    )
    with pytest.raises(ConfigError, match="no parts of its own"):
        settle(config.data, "data")
    with pytest.raises(
        ConfigError, match=r"data\.window: \d+ windows with labels leave none .*; make windows smaller"
    ):
        settle(replace(config.data, window=64), "auto")
    with pytest.raises(ConfigError, match=r"data\.east_start, data\.validation: divides a scene by columns"):
        replace(config, data=replace(config.data, east_start=40))


def test_the_best_encoder_is_drawn_whatever_its_row() -> None:
    assert drawn_rows(said(scored(), MAPS, "divided")) == [("forest", ""), ("scratch", ""), ("full", "mae")]
    frozen = said(scored({**ROWS, ("probe", "mae"): (0.5, 0.9)}), MAPS, "divided")
    assert drawn_rows(frozen)[-1] == ("probe", "mae")
    # One that was never trained is drawn too where the validation part likes it as much.
    low = {**ROWS, ("random", "mae"): (0.9, 0.7)}
    assert drawn_rows(said(scored(low), MAPS, "divided"))[-1] == ("full", "mae")
    high = said(scored({**ROWS, ("random", "mae"): (0.2, 0.85)}), MAPS, "divided")
    assert drawn_rows(high)[-2:] == [("full", "mae"), ("random", "mae")]
    alone = said(scored({("index", ""): (0.5, None), ("random", "mae"): (0.2, 0.85)}), MAPS, "divided")
    assert drawn_rows(alone) == [("index", ""), ("random", "mae")]
    assert drawn_rows(said(scored({("majority", ""): (0.5, None)}), MAPS, "divided")) == []


def test_the_worst_records_are_shown_with_their_truth(lakes: Any, tmp_path: Path) -> None:
    data = LabelledData(layout=LayoutOptions("folder", own_folder.planted_leak(tmp_path, places=30, each=1)))
    settled, _ = settle(data, "auto")
    seen = Look("classification", False, (CLASSES[0], CLASSES[1]))
    ids = open_part(settled, "test").ids
    rows = scored({("forest", ""): (0.5, None), ("probe", "mae"): (0.5, 0.7), ("random", "mae"): (0.5, 0.9)})
    worst = tuple((name, 1 - 0.01 * i) for i, name in enumerate(ids))
    found = draw_worst(settled, said([replace(s, worst=worst) for s in rows], seen, "divided"))
    assert found is not None and found.id == "mae: frozen, linear"
    truths = {r.id: int(np.asarray(r.target)) for r in open_part(settled, "test").records}
    words = [f"{n}. {CLASSES[truths[name]].name}" for n, name in enumerate(ids[:6], 1)]
    assert [word for word, _ in found.pictures] == words
    long = replace(seen, classes=tuple(replace(c, name=f"{c.name} " * 9) for c in CLASSES))
    cut = draw_worst(settled, said([replace(s, worst=worst) for s in rows], long, "divided"))
    assert cut is not None and {len(word) for word, _ in cut.pictures} == {24}
    assert draw_worst(settled, said(scored({("majority", ""): (0.3, None)}), seen, "divided")) is None
    page = card_page(said(rows, seen, "divided"), [], {}, "No pictures: gone").html()
    assert "No pictures: gone" in page and "Maps side by side" not in page


def test_probes_draw_their_maps_and_name_what_they_answer_worst(
    lakes: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_many, "_answer", inline)
    drawn: list[Any] = []
    monkeypatch.setattr(
        card_page_module, "draw_maps", lambda config, data, card: drawn.append((data, card)) or []
    )
    data, weights = lakes
    data = replace(data, window=16)  # several windows answer for a record
    config = CardConfig(
        str(tmp_path / "card"), data, (weights,), ("random", "probe"), fractions=(1.0,), seeds=1, precision="fp32"
    )  # fmt: skip
    found = run(config)
    page = Path(found.page).read_text()
    table = json.loads(Path(found.table).read_text())
    worst = {c["method"]: c["worst"] for c in table["cells"]}
    assert "Where each fails" in page and all(worst[name] for name in ("random", "probe"))
    assert f"<code>{worst['probe'][0][0]}</code> {worst['probe'][0][1]:.2f}" in page
    monkeypatch.setattr(card_maps_module, "_MOST_MAPS", 99)
    settled, card = drawn[-1]
    for method in ("probe", "random"):
        alone = said([s for s in card.scored if s.cell.method == method], card.seen, card.split)
        (row,) = drawn_rows(alone)
        maps = draw_maps(config, settled, alone)
        assert [name for name, _ in maps[0].pictures] == ["seen", "truth", card.title(row).partition(": ")[2]]
        # Each map is as far off as its command said: it is the one that was scored.
        told = dict(worst[method])
        off = {m.id: dict(m.off)[card.title(row)] for m in maps if m.id in told}
        assert off == pytest.approx(told) and maps[0].id == worst[method][0][0]


@pytest.mark.slow
def test_a_whole_card_in_its_own_processes_and_again(lakes: Any, tmp_path: Path) -> None:
    data, weights = lakes
    config = CardConfig(
        str(tmp_path / "card"), data, (weights,), ("index", "scratch", "probe", "lora"), fractions=(1.0,), seeds=1,
        steps=4, batch_size=4, threads=1,
    )  # fmt: skip
    found = run(config)
    assert (
        not found.failed and found.cells == 4 + 1 and found.better is None
    )  # the index under a random split too
    table = json.loads(Path(found.table).read_text())
    scores = {c["method"]: c for c in table["cells"]}
    assert scores["index"]["score"] > 0.95 and all(c["peak_bytes"] > 1 << 20 for c in table["cells"])
    assert len(scores["scratch"]["commands"]) == 2 and scores["lora"]["worst"]
    page = Path(found.page).read_text()
    assert page.count("<figure>") >= 1 + 3 and "Maps side by side" in page and "What failed" not in page
    again = run(replace(config, resume=True))
    assert json.loads(Path(again.table).read_text()) == table  # seconds too: nothing ran
    with pytest.raises(OutputError, match="holds something"):
        run(config)
