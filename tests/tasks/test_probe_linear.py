from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.preprocessing import StandardScaler

from swath.errors import ConfigError, InputError
from swath.tasks.probe_linear import _Scaled, _solved, class_probes, label_probes, value_probes

N, D, K = 120, 6, 3


def data(seed: int):
    draw = np.random.default_rng(seed)
    x = draw.normal(size=(N, D)) * draw.uniform(0.1, 10, D) + draw.normal(size=D) * 5
    y = (StandardScaler().fit_transform(x) @ draw.normal(size=(D, K)) + draw.normal(size=(N, K))).argmax(1)
    return x, y, draw


def one_hot(y) -> torch.Tensor:
    return torch.nn.functional.one_hot(torch.as_tensor(y), K)


@settings(max_examples=5)
@given(seed=st.integers(0, 1000), strength=st.sampled_from([1e-3, 1e-2, 1.0]))
def test_classes_are_those_of_scikit_learn(seed, strength):
    x, y, _ = data(seed)
    (probe,) = class_probes(torch.from_numpy(x), one_hot(y), [strength])
    scaler = StandardScaler().fit(x)
    model = LogisticRegression(C=1 / (strength * N), max_iter=10_000, tol=1e-10).fit(scaler.transform(x), y)
    expected = model.predict_proba(scaler.transform(x))
    held = model.classes_
    ours = probe(torch.from_numpy(x)).double().softmax(1).numpy()[:, held]
    np.testing.assert_allclose(ours, expected, atol=2e-4)


def test_labels_and_values_are_those_of_scikit_learn():
    x, _, draw = data(1)
    labels = (draw.random((N, K)) < 1 / (1 + np.exp(-StandardScaler().fit_transform(x)[:, :K]))).astype(int)
    (probe,) = label_probes(torch.from_numpy(x), torch.from_numpy(labels), [0.01])
    z = StandardScaler().fit_transform(x)
    for k in range(K):
        model = LogisticRegression(C=1 / (0.01 * N), max_iter=10_000, tol=1e-10).fit(z, labels[:, k])
        ours = probe(torch.from_numpy(x))[:, k].sigmoid().numpy()
        np.testing.assert_allclose(ours, model.predict_proba(z)[:, 1], atol=2e-4)
    values = z @ draw.normal(size=(D, 2)) + draw.normal(size=(N, 2)) * 0.3
    (probe,) = value_probes(torch.from_numpy(x), torch.from_numpy(values), [0.1])
    model = Ridge(alpha=0.1 * N).fit(z, values)
    np.testing.assert_allclose(probe(torch.from_numpy(x)).numpy(), model.predict(z), atol=1e-5)


def test_counts_stand_for_so_many_rows():
    x, _, draw = data(2)
    counts = torch.from_numpy(draw.integers(0, 3, (N, K)))
    rows = torch.repeat_interleave(torch.arange(N), counts.sum(1))
    classes = torch.cat([torch.repeat_interleave(torch.arange(K), c) for c in counts])
    held = torch.from_numpy(x) / 10
    (a,) = class_probes(held, counts, [0.01])
    # Scaling counts rows, not pixels: the same features for both.
    scaled = (held - held[counts.sum(1) > 0].mean(0)) / held[counts.sum(1) > 0].std(0, correction=0)
    model = LogisticRegression(C=1 / (0.01 * len(rows)), max_iter=10_000, tol=1e-10)
    model.fit(scaled[rows].numpy(), classes.numpy())
    np.testing.assert_allclose(a(held).double().softmax(1), model.predict_proba(scaled.numpy()), atol=2e-4)


def test_unknown_values_count_in_nothing_and_weights_repeat_rows():
    x, _, draw = data(3)
    held = torch.from_numpy(x)
    values = torch.from_numpy(draw.normal(size=(N, 2)))
    values[:40, 0] = torch.nan
    (probe,) = value_probes(held, values, [0.1])
    z = (held - held.mean(0)) / held.std(0, correction=0)
    model = Ridge(alpha=0.1 * (N - 40)).fit(z[40:].numpy(), values[40:, 0].numpy())
    np.testing.assert_allclose(probe(held)[:, 0].numpy(), model.predict(z.numpy()), atol=1e-5)
    counts = torch.from_numpy(draw.integers(0, 4, (N, 1)))
    (probe,) = value_probes(held, values[:, 1:], [0.1], counts)
    model = Ridge(alpha=0.1 * float(counts.sum()))
    model.fit(z.numpy(), values[:, 1].numpy(), sample_weight=counts[:, 0].numpy())
    np.testing.assert_allclose(probe(held)[:, 0].numpy(), model.predict(z.numpy()), atol=1e-5)


def test_more_regularisation_means_smaller_weights_and_a_constant_feature_harms_nothing():
    x, y, _ = data(4)
    held = torch.cat([torch.from_numpy(x), torch.full((N, 1), 7.0)], dim=1)
    found = list(class_probes(held, one_hot(y), [1e-4, 1.0, 1e-2]))
    assert [p.strength for p in found] == [1.0, 1e-2, 1e-4]
    sizes = [float((p.weight[:, :D] * held[:, :D].std(0)).norm()) for p in found]
    assert sizes == sorted(sizes) and sizes[0] < 0.7 * sizes[-1]
    assert all(torch.isfinite(p(held)).all() for p in found)


def test_garbage_is_refused():
    with pytest.raises(InputError, match="NaN"):
        list(class_probes(torch.full((4, 2), torch.nan), torch.eye(4), [1.0]))
    with pytest.raises(InputError, match="no row is labelled"):
        list(class_probes(torch.ones(4, 2), torch.zeros(4, 3), [1.0]))
    with pytest.raises(InputError, match="no known value"):
        list(value_probes(torch.ones(4, 2), torch.full((4, 1), torch.nan), [1.0]))
    with pytest.raises(ConfigError, match="strengths"):
        list(label_probes(torch.ones(4, 2), torch.ones(4, 1), [0.0]))


def test_features_that_are_alike_take_few_passes_to_the_optimum():
    """Those of an encoder are; unprepared, L-BFGS took thousands of passes over them."""
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(2000, 8, generator=draw).double() @ torch.randn(8, 64, generator=draw).double()
    x += 0.01 * torch.randn(2000, 64, generator=draw).double()
    y = (x[:, 0] + 4 * torch.randn(2000, generator=draw) > 0).long()
    target, scaled = one_hot(y)[:, :2].double(), _Scaled.of(x)
    passes = 0

    def loss(logits: torch.Tensor) -> torch.Tensor:
        nonlocal passes
        passes += 1
        return -(target * logits.log_softmax(1)).sum() / len(target)

    strengths = [1e-5, 1e-3, 1e-1]
    for probe in _solved(scaled, torch.zeros(2, dtype=torch.float64), loss, strengths):
        weight = (probe.weight * scaled.std).requires_grad_()
        bias = probe.bias + probe.weight @ scaled.mean
        value = loss(scaled.x @ weight.T + bias) + probe.strength / 2 * weight.square().sum()
        (slope,) = torch.autograd.grad(value, weight)
        assert float(slope.abs().max()) < 1e-5
    assert passes < 150
