from __future__ import annotations

import pytest
import torch

from swath.feed.grid import GridFeed
from swath.feed.normalise import normalise
from swath.tasks.config import IGNORE, TaskConfig
from swath.tasks.segmentation import SegmentationTask
from swath.training.evaluate import evaluate, evaluate_objective
from swath.training.precision import choose_precision


def test_scores_do_not_depend_on_the_batches(contract, scene, new_segmenter):
    cube, labels = scene()
    task = SegmentationTask(new_segmenter(), TaskConfig(("a", "b", "c")))
    results = [
        evaluate(task, GridFeed([contract.convert(cube)], contract, 16, batch_size=b, labels=[labels]))
        for b in (1, 4)
    ]
    assert results[0].confusion == results[1].confusion and results[0].count == labels.size
    assert task.training
    right = scored = 0
    for batch in GridFeed([contract.convert(cube)], contract, 16, labels=[labels]):
        guess = task.network(normalise(batch), batch.valid).argmax(1)
        right += int((guess == batch.target).sum())
        scored += int((batch.target != IGNORE).sum())
    assert results[0].overall_accuracy == pytest.approx(right / scored)


def test_the_loss_of_an_objective_is_one_mean_with_the_same_masks_each_time(contract, scene, objective):
    cube, _ = scene()
    torch.manual_seed(1)
    expected = torch.rand(2)
    torch.manual_seed(1)
    feeds = [GridFeed([contract.convert(cube)], contract, 16, batch_size=b) for b in (2, 9)]
    first = evaluate_objective(objective, feeds[0], seed=3)
    second = evaluate_objective(objective, feeds[1], seed=3, precision=choose_precision("fp32"))
    assert first.keys() == {"loss", "hidden", "seen"}
    assert first == pytest.approx(second, rel=1e-5)
    assert first["loss"] == pytest.approx(first["hidden"] + 0.1 * first["seen"])
    assert evaluate_objective(objective, feeds[0], seed=4) != first
    assert torch.equal(torch.rand(2), expected) and objective.training
