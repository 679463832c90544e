from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor

from swath.errors import ConfigError, InputError
from swath.tasks import probe_knn
from swath.tasks.probe_knn import SHARPNESS, neighbours


def weights(distance):
    return np.exp((1 - distance) / SHARPNESS)


def test_neighbours_are_those_of_scikit_learn(monkeypatch):
    monkeypatch.setattr(probe_knn, "_AT_ONCE", 500)  # several portions
    draw = np.random.default_rng(0)
    x, asked = draw.normal(size=(80, 5)), draw.normal(size=(30, 5))
    y, values = draw.integers(0, 4, 80), draw.normal(size=(80, 2))
    classes = torch.nn.functional.one_hot(torch.from_numpy(y), 4)
    for probe in neighbours(torch.from_numpy(x), classes, [3, 11]):
        model = KNeighborsClassifier(probe.count, metric="cosine", weights=weights).fit(x, y)
        np.testing.assert_allclose(probe(torch.from_numpy(asked)), model.predict_proba(asked), atol=1e-6)
    (probe,) = neighbours(torch.from_numpy(x), torch.from_numpy(values), [7])
    model = KNeighborsRegressor(7, metric="cosine", weights=weights).fit(x, values)
    np.testing.assert_allclose(probe(torch.from_numpy(asked)), model.predict(asked), atol=1e-6)


def test_unknown_answers_have_no_say():
    x = torch.eye(3)
    answers = torch.tensor([[1.0], [torch.nan], [3.0]])
    (probe,) = neighbours(x, answers, [3])
    assert float(probe(torch.tensor([[1.0, 0.0, 1.0]]))[0, 0]) == pytest.approx(2.0)


def test_more_neighbours_than_rows_are_all_of_them():
    assert [p.count for p in neighbours(torch.eye(3), torch.eye(3), [1, 5, 50])] == [1, 3]


def test_garbage_is_refused():
    with pytest.raises(ConfigError, match="neighbours"):
        list(neighbours(torch.eye(2), torch.eye(2), [0]))
    with pytest.raises(InputError, match="NaN"):
        list(neighbours(torch.full((2, 2), torch.nan), torch.eye(2), [1]))
