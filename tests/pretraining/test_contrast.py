"""InfoNCE, SimCLR and MoCo against plain references, and on two ranks against one."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from swath.errors import ConfigError
from swath.models.swin3d import Swin3D
from swath.models.swin_config import Swin3DConfig
from swath.models.vit_encoder import ViT, ViTConfig
from swath.pretraining.contrast import BatchNorm, pooled, unit
from swath.pretraining.moco import MOCO, MoCoConfig, MoCoObjective
from swath.pretraining.simclr import SimCLRConfig, SimCLRObjective, nt_xent
from swath.pretraining.views import two_views

NM = (490.0, 560.0, 665.0)
CLOSE = {"atol": 1e-5, "rtol": 1e-4}


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def vit() -> ViT:
    torch.manual_seed(0)
    return ViT(
        ViTConfig(wavelengths=NM, image_size=8, patch_size=4, embed_dim=16, depth=1, heads=2, temporal=True)
    )


def swin() -> Swin3D:
    torch.manual_seed(0)
    return Swin3D(
        Swin3DConfig(bands=3, patch_size=(1, 2, 2), embed_dim=8, depths=(1, 1), heads=(1, 2), window=(1, 2, 2),
                     drop_path=0.0, final_norm=True)
    )  # fmt: skip


def objective(kind: str, backbone: str = "vit") -> SimCLRObjective | MoCoObjective:
    network: nn.Module = vit() if backbone == "vit" else swin()
    torch.manual_seed(1)
    if kind == "simclr":
        return SimCLRObjective(network, 16, SimCLRConfig(hidden=12, embedding=8))
    if kind == "v2":
        return MoCoObjective(network, 16, MoCoConfig("v2", momentum=0.9, hidden=0, embedding=8, queue=7))
    return MoCoObjective(network, 16, MoCoConfig("v3", hidden=12, embedding=8, freeze_patch_embed=True))


def batch(b: int = 4, t: int = 2, seed: int = 0) -> tuple[Tensor, Tensor]:
    return draw(b, t, 3, 8, 8, seed=seed), draw(b, t, 3, 8, 8, seed=seed + 1) > 0.1


def noise(module: SimCLRObjective | MoCoObjective, x: Tensor, seed: int = 5) -> Tensor:
    return draw(len(x), module.noise_length(x.shape), seed=seed)


@pytest.mark.parametrize("temperature", [0.1, 1.0])
def test_nt_xent_against_the_formula(temperature: float) -> None:
    a, b = unit(draw(5, 4) - 0.5), unit(draw(5, 4, seed=1) - 0.5)
    holds = torch.tensor([True, True, False, True, True])
    both = [
        v for pair in ((a[i], b[i]) for i in range(5) if holds[i]) for v in pair
    ]  # 2k and 2k+1 are a pair
    losses = []
    for i, z in enumerate(both):
        partner = i ^ 1
        scores = [math.exp(float(z @ other) / temperature) for k, other in enumerate(both) if k != i]
        losses.append(-math.log(math.exp(float(z @ both[partner]) / temperature) / sum(scores)))
    part = nt_xent(a, b, holds, temperature)
    assert int(part.count) == 8
    assert float(part.mean) == pytest.approx(sum(losses) / 8, rel=1e-5)


def test_moco_v2_against_the_formula() -> None:
    module = objective("v2")
    assert isinstance(module, MoCoObjective)
    module.queue.copy_(unit(draw(7, 8, seed=2) - 0.5))
    module.queue_holds[:5] = True
    x, valid = batch()
    drawn = noise(module, x)
    views = two_views(x, valid, None, drawn, module.views)
    holds = torch.ones(4, dtype=torch.bool)
    q = unit(module.head(pooled(module.network, views[0], NM), holds))
    k = unit(module.key_head(pooled(module.key_network, views[1], NM), holds))
    logits = torch.cat([(q * k).sum(1, keepdim=True), q @ module.queue[:5].T], 1) / 0.2
    want = F.cross_entropy(logits, torch.zeros(4, dtype=torch.long))
    torch.testing.assert_close(module(x, valid, noise=drawn).loss, want, **CLOSE)


def test_moco_v3_against_the_formula() -> None:
    module = objective("v3")
    assert isinstance(module, MoCoObjective)
    x, valid = batch()
    drawn = noise(module, x)
    first, second = two_views(x, valid, None, drawn, module.views)
    holds = torch.ones(4, dtype=torch.bool)

    def query(view: Any) -> Tensor:
        return F.normalize(
            module.predictor(module.head(pooled(module.network, view, NM), holds), holds), dim=1
        )

    def key(view: Any) -> Tensor:
        return F.normalize(module.key_head(pooled(module.key_network, view, NM), holds), dim=1)

    def ctr(q: Tensor, k: Tensor) -> Tensor:
        return 2 * 0.2 * F.cross_entropy(q @ k.T / 0.2, torch.arange(4))

    want = ctr(query(first), key(second)) + ctr(query(second), key(first))
    torch.testing.assert_close(module(x, valid, noise=drawn).loss, want, **CLOSE)


@pytest.mark.parametrize("backbone", ["vit", "swin"])
@pytest.mark.parametrize("kind", ["simclr", "v2", "v3"])
def test_a_forward_pass_changes_nothing_and_no_gradient_reaches_the_copy(kind: str, backbone: str) -> None:
    module = objective(kind, backbone)
    before = {k: v.clone() for k, v in module.state_dict().items()}
    x, valid = batch()
    out = module(x, valid, noise=noise(module, x))
    out.loss.backward()
    assert all(torch.equal(v, before[k]) for k, v in module.state_dict().items())
    for name, p in module.named_parameters():
        frozen = name.startswith("key_") or (kind == "v3" and name.startswith("network.patch_embed"))
        assert p.requires_grad is not frozen
        assert not (frozen and p.grad is not None)
    assert sum(float(p.grad.abs().sum()) for p in module.network.parameters() if p.grad is not None) > 0 or (
        kind == "v2"  # an empty queue asks nothing
    )


@pytest.mark.parametrize("kind", ["v2", "v3"])
def test_the_copy_follows_by_its_momentum(kind: str) -> None:
    module = objective(kind)
    assert isinstance(module, MoCoObjective)
    with torch.no_grad():
        for p in module.network.parameters():
            p.add_(1.0)
    old = [p.clone() for p in module.key_network.parameters()]
    module.after_step(3, 10)
    m = 0.9 if kind == "v2" else 1 - 0.01 * (math.cos(math.pi * 0.3) + 1) / 2
    for before, now, target in zip(
        old, module.key_network.parameters(), module.network.parameters(), strict=True
    ):
        torch.testing.assert_close(now, m * before + (1 - m) * target)
    assert MoCoObjective(vit(), 16, MOCO["v3"]).momentum(0, 10) == pytest.approx(0.99)
    assert MoCoObjective(vit(), 16, MOCO["v3"]).momentum(10, 10) == pytest.approx(1.0)


def test_the_queue_takes_the_keys_of_a_step_and_forgets_the_oldest() -> None:
    module = objective("v2")
    assert isinstance(module, MoCoObjective)
    sent = []
    for step in range(3):
        for micro in range(2):  # two passes of one step
            x, valid = batch(2, seed=10 * step + micro)
            if step == 1 and micro == 0:
                valid[0] = False
            drawn = noise(module, x, seed=step)
            views = two_views(x, valid, None, drawn, module.views)
            holds = views[0].holds & views[1].holds
            with torch.no_grad():
                keys = unit(module.key_head(pooled(module.key_network, views[1], NM), holds))
            sent += list(zip(keys, holds.tolist(), strict=True))
            module(x, valid, noise=drawn)
            with torch.no_grad():
                module(x, valid, noise=drawn)  # counting leaves no keys
        module.after_step(step, 3)
    assert int(module.queue_at) == 12 % 7
    for i, (key, held) in enumerate(sent[-7:], start=12 - 7):
        torch.testing.assert_close(module.queue[i % 7], key)
        assert bool(module.queue_holds[i % 7]) is held
    module(*batch(2), noise=noise(module, batch(2)[0]))
    module.skip_step()
    module.after_step(3, 4)
    assert int(module.queue_at) == 12 % 7
    spoiled = torch.full((1, 8), torch.nan)
    module._enqueue(spoiled, torch.tensor([True]))
    assert module.queue.isfinite().all() and not module.queue_holds[5]
    again = objective("v2")
    again.load_state_dict(module.state_dict())
    x, valid = batch()
    assert torch.equal(
        again(x, valid, noise=noise(again, x)).loss, module(x, valid, noise=noise(module, x)).loss
    )


@pytest.mark.parametrize("kind", ["simclr", "v2", "v3"])
def test_a_sample_without_data_counts_nowhere(kind: str) -> None:
    # In float64: batch norm of three samples makes much of rounding, which is another on other processors.
    module = objective(kind).double()
    if isinstance(module, MoCoObjective) and kind == "v2":
        module.queue.copy_(unit(draw(7, 8, seed=2) - 0.5))
        module.queue_holds.fill_(True)
    x, valid = batch()
    x = x.double()
    drawn = noise(module, x)
    hole = valid.clone()
    hole[2] = False
    rest = [0, 1, 3]
    results = []
    for args in ((torch.where(hole, x, torch.nan), hole, drawn), (x[rest], valid[rest], drawn[rest])):
        module.zero_grad()
        out = module(args[0], args[1], noise=args[2])
        out.loss.backward()
        results.append((out, [p.grad.clone() for p in module.parameters() if p.grad is not None]))
    torch.testing.assert_close(results[0][0].parts["contrast"].count, results[1][0].parts["contrast"].count)
    torch.testing.assert_close(results[0][0].loss, results[1][0].loss, **CLOSE)
    for a, b in zip(results[0][1], results[1][1], strict=True):
        torch.testing.assert_close(a, b, **CLOSE)


def test_batch_norm_is_that_of_torch_over_what_holds_data() -> None:
    norm, plain = BatchNorm(4, affine=True), nn.BatchNorm1d(4)
    x, holds = draw(6, 4), torch.tensor([True, False, True, True, True, True])
    torch.testing.assert_close(norm(x, holds)[holds], plain(x[holds]), **CLOSE)


@pytest.mark.parametrize("kind", ["simclr", "v3"])
def test_training_makes_the_views_of_a_place_agree(kind: str) -> None:
    module = objective(kind)
    x = draw(8, 1, 3, 1, 1).expand(8, 1, 3, 8, 8) + 0.05 * draw(8, 1, 3, 8, 8, seed=1)
    optimizer = torch.optim.AdamW([p for p in module.parameters() if p.requires_grad], lr=3e-3)
    losses = []
    for i in range(40):
        loss = module(x, noise=noise(module, x, seed=i)).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if isinstance(module, MoCoObjective):
            module.after_step(i, 40)
        losses.append(float(loss.detach()))
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])


def test_versions_and_queues_that_do_not_fit() -> None:
    with pytest.raises(ConfigError, match="v3 with a queue of 8"):
        MoCoConfig("v3", queue=8)
    with pytest.raises(ConfigError, match="v2 with a queue of 0"):
        MoCoConfig("v2")


def _one_rank(number: int, kind: str, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=number, world_size=2)
    module, x, valid = objective(kind).double(), *batch(6)
    x = x.double()
    valid[1] = False  # one rank has two samples with data, the other three
    drawn = noise(module, x)
    mine = slice(3 * number, 3 * number + 3)
    optimizer = torch.optim.SGD([p for p in module.parameters() if p.requires_grad], lr=0.1)
    for step in range(2):
        out = module(x[mine], valid[mine], noise=drawn[mine])
        part = out.parts["contrast"]
        count = part.count.clone()
        dist.all_reduce(count)
        optimizer.zero_grad()
        (part.weight * part.numerator / count).backward()
        for p in module.parameters():
            if p.grad is not None:
                dist.all_reduce(p.grad)
        optimizer.step()
        if isinstance(module, MoCoObjective):
            module.after_step(step, 2)
    torch.save(module.state_dict(), Path(folder) / f"{number}.pt")
    dist.destroy_process_group()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["simclr", "v2", "v3"])
def test_two_ranks_learn_what_one_does(kind: str, tmp_path: Path) -> None:
    torch.multiprocessing.spawn(_one_rank, (kind, str(tmp_path)), nprocs=2)
    module, x, valid = objective(kind).double(), *batch(6)
    x = x.double()
    valid[1] = False
    optimizer = torch.optim.SGD([p for p in module.parameters() if p.requires_grad], lr=0.1)
    for step in range(2):
        loss = module(x, valid, noise=noise(module, x)).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if isinstance(module, MoCoObjective):
            module.after_step(step, 2)
    for number in range(2):
        state = torch.load(tmp_path / f"{number}.pt", weights_only=True)
        for name, value in module.state_dict().items():
            torch.testing.assert_close(state[name], value, atol=1e-10, rtol=1e-8)
