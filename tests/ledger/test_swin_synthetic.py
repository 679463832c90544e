"""Files like the published ones that are not in tests/golden, made by slow references of the rules themselves:
one window after the other, in plain loops. The ledger must be green on them, and red on any other number.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from swath.ledger import swin_video
from swath.ledger.swin import check, understands

Size = tuple[int, int, int]
Params = dict[str, Tensor]
INPUTS = ("x", "imgs", "noise")


# --- random parameters, under the published names


class Maker:
    def __init__(self, seed: int) -> None:
        self.rng = torch.Generator().manual_seed(seed)
        self.p: Params = {}

    def normal(self, *shape: int) -> Tensor:
        return torch.randn(*shape, generator=self.rng)

    def linear(self, name: str, rows: int, columns: int, bias: bool = True) -> None:
        self.p[f"{name}.weight"] = self.normal(rows, columns) / math.sqrt(columns)
        if bias:
            self.p[f"{name}.bias"] = 0.2 * self.normal(rows)

    def norm(self, name: str, width: int) -> None:
        self.p[f"{name}.weight"] = 1 + 0.2 * self.normal(width)
        self.p[f"{name}.bias"] = 0.2 * self.normal(width)

    def block(self, at: str, width: int, heads: int, window: Size, ratio: float = 2) -> None:
        d, h, w = window
        self.norm(f"{at}norm1", width)
        self.linear(f"{at}attn.qkv", 3 * width, width)
        self.linear(f"{at}attn.proj", width, width)
        rows = (2 * d - 1) * (2 * h - 1) * (2 * w - 1)
        self.p[f"{at}attn.relative_position_bias_table"] = 0.5 * self.normal(rows, heads)
        self.p[f"{at}attn.relative_position_index"] = full_index(window)
        self.norm(f"{at}norm2", width)
        self.linear(f"{at}mlp.fc1", int(ratio * width), width)
        self.linear(f"{at}mlp.fc2", width, int(ratio * width))

    def merging(self, at: str, width: int) -> None:
        self.norm(f"{at}norm", 4 * width)
        self.linear(f"{at}reduction", 2 * width, 4 * width, bias=False)

    def expanding(self, at: str, width: int, out: int, factor: int) -> None:
        self.linear(f"{at}expand", factor * factor * out, width, bias=False)
        self.norm(f"{at}norm", out)


# --- the rules, slowly


def full_index(window: Size) -> Tensor:
    places = list(itertools.product(*(range(n) for n in window)))
    d, h, w = window
    rows = [
        [
            ((a[0] - b[0] + d - 1) * (2 * h - 1) + (a[1] - b[1] + h - 1)) * (2 * w - 1)
            + (a[2] - b[2] + w - 1)
            for b in places
        ]
        for a in places
    ]
    return torch.tensor(rows)


def windows(size: Size, window: Size, shift: Size) -> list[list[tuple[tuple[int, ...], tuple[int, ...]]]]:
    """For each window its places: (place on the padded map, labels of the pieces)."""

    def label(at: int, n: int, w: int, s: int) -> int:
        return 0 if not s or at < n - w else 1 if at < n - s else 2

    found = []
    for start in itertools.product(*(range(0, n, w) for n, w in zip(size, window, strict=True))):
        places = []
        for inside in itertools.product(*(range(w) for w in window)):
            rolled = [a + b for a, b in zip(start, inside, strict=True)]
            place = tuple((r + s) % n for r, s, n in zip(rolled, shift, size, strict=True))
            labels = tuple(label(*v) for v in zip(rolled, size, window, shift, strict=True))
            places.append((place, labels))
        found.append(places)
    return found


def additive(size: Size, window: Size, shift: Size) -> Tensor:
    masks = []
    for places in windows(size, window, shift):
        masks.append([[0.0 if a[1] == b[1] else -100.0 for b in places] for a in places])
    return torch.tensor(masks)


def norm(p: Params, name: str, x: Tensor, eps: float) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], p[f"{name}.weight"], p[f"{name}.bias"], eps)


def linear(p: Params, name: str, x: Tensor) -> Tensor:
    out = x @ p[f"{name}.weight"].t()
    return out + p[f"{name}.bias"] if f"{name}.bias" in p else out


def attention(p: Params, at: str, tokens: Tensor, bias: Tensor, mask: Tensor) -> Tensor:
    n, c = tokens.shape
    heads = bias.shape[0]
    q, k, v = linear(p, f"{at}qkv", tokens).reshape(n, 3, heads, c // heads).permute(1, 2, 0, 3)
    scores = torch.stack([q[i] @ k[i].t() / math.sqrt(c // heads) + bias[i] + mask for i in range(heads)])
    mixed = torch.stack([scores[i].softmax(-1) @ v[i] for i in range(heads)], dim=1)
    return linear(p, f"{at}proj", mixed.reshape(n, c))


def block(p: Params, at: str, x: Tensor, table: Size, window: Size, shift: Size, eps: float) -> Tensor:
    """[D,H,W,C]; `table` is the window of the bias table, of whose index a smaller window takes the corner."""
    size = x.shape[:3]
    padded = tuple(math.ceil(n / w) * w for n, w in zip(size, window, strict=True))
    y = x.new_zeros(*padded, x.shape[3])
    y[: size[0], : size[1], : size[2]] = norm(p, f"{at}norm1", x, eps)
    n = math.prod(window)
    index = full_index(table)[:n, :n]
    bias = p[f"{at}attn.relative_position_bias_table"][index].permute(2, 0, 1)
    out = torch.zeros_like(y)
    for places in windows(padded, window, shift):  # type: ignore[arg-type]
        mask = torch.tensor([[0.0 if a[1] == b[1] else -100.0 for b in places] for a in places])
        tokens = torch.stack([y[place] for place, _ in places])
        for (place, _), value in zip(places, attention(p, f"{at}attn.", tokens, bias, mask), strict=True):
            out[place] = value
    x = x + out[: size[0], : size[1], : size[2]]
    hidden = F.gelu(linear(p, f"{at}mlp.fc1", norm(p, f"{at}norm2", x, eps)))
    return x + linear(p, f"{at}mlp.fc2", hidden)


def merge(p: Params, at: str, x: Tensor, eps: float) -> Tensor:
    d, h, w, _ = x.shape
    out = x.new_zeros(d, math.ceil(h / 2), math.ceil(w / 2), p[f"{at}reduction.weight"].shape[0])
    for t, i, j in itertools.product(*(range(n) for n in out.shape[:3])):
        parts = []
        for column, row in itertools.product((0, 1), (0, 1)):
            a, b = 2 * i + row, 2 * j + column
            parts.append(x[t, a, b] if a < h and b < w else x.new_zeros(x.shape[3]))
        out[t, i, j] = linear(p, f"{at}reduction", norm(p, f"{at}norm", torch.cat(parts), eps))
    return out


def expand(p: Params, at: str, x: Tensor, factor: int, eps: float) -> Tensor:
    d, h, w, _ = x.shape
    width = p[f"{at}norm.weight"].shape[0]
    out = x.new_zeros(d, h * factor, w * factor, width)
    for t, i, j in itertools.product(range(d), range(h), range(w)):
        many = linear(p, f"{at}expand", x[t, i, j]).reshape(factor, factor, width)
        for a, b in itertools.product(range(factor), range(factor)):
            out[t, i * factor + a, j * factor + b] = norm(p, f"{at}norm", many[a, b], eps)
    return out


def reduced(size: Any, window: Size) -> tuple[Size, Size]:
    """Video Swin's window and shift for a map."""
    pairs = list(zip(size, window, strict=True))
    cut = tuple(n if n <= w else w for n, w in pairs)
    return cut, tuple(0 if n <= w else w // 2 for n, w in pairs)  # type: ignore[return-value]


def video_stage(p: Params, at: str, x: Tensor, window: Size, depth: int) -> list[Tensor]:
    cut, shift = reduced(x.shape[:3], window)
    outs = []
    for i in range(depth):
        x = block(p, f"{at}blocks.{i}.", x, window, cut, shift if i % 2 else (0, 0, 0), 1e-5)
        outs.append(x)
    return outs


# --- the files


def save(path: Path, params: Params, arrays: Params, meta: dict[str, Any] | None) -> Path:
    tensors = {f"param.{name}": t for name, t in params.items()} | arrays
    save_file(
        {name: t.contiguous().clone() for name, t in tensors.items()},
        path,
        None if meta is None else {"meta": json.dumps(meta)},
    )
    return path


def layer(path: Path, size: Size, window: Size, *, merging: bool, batch: int = 1) -> Path:
    maker, width, heads, depth = Maker(1), 8, 2, 2
    for i in range(depth):
        maker.block(f"blocks.{i}.", width, heads, window)
    if merging:
        maker.merging("downsample.", width)
    x = maker.normal(batch, width, *size)
    samples = [video_stage(maker.p, "", s.permute(1, 2, 3, 0), window, depth) for s in x]
    arrays = {"x": x}
    for i in range(depth):
        arrays[f"out_block{i}"] = torch.stack([s[i] for s in samples])
    lasts = [merge(maker.p, "downsample.", s[-1], 1e-5) if merging else s[-1] for s in samples]
    arrays["out"] = torch.stack([s.permute(3, 0, 1, 2) for s in lasts])
    cut, shift = reduced(size, window)
    padded: Size = tuple(math.ceil(n / w) * w for n, w in zip(size, cut, strict=True))  # type: ignore[assignment]
    arrays["attn_mask"] = additive(padded, cut, shift)
    meta = {
        "cls": "Video-Swin BasicLayer",
        "dim": width,
        "depth": depth,
        "num_heads": heads,
        "window_size": list(window),
        "shift_size_configured": [w // 2 for w in window],
        "mlp_ratio": 2.0,
        "qkv_bias": True,
        "effective_window": list(cut),
        "effective_shift": list(shift),
        "padded_D_H_W": list(padded),
        "downsample": merging,
    }
    return save(path, maker.p, arrays, meta)


def backbone(path: Path) -> Path:
    maker, width, window, heads = Maker(2), 8, (2, 3, 3), (2, 4)
    maker.p["patch_embed.proj.weight"] = maker.normal(width, 3, 2, 4, 4) / math.sqrt(96)
    maker.p["patch_embed.proj.bias"] = 0.2 * maker.normal(width)
    maker.norm("patch_embed.norm", width)
    for i in range(2):
        for j in range(2):
            maker.block(f"layers.{i}.blocks.{j}.", width << i, heads[i], window)
    maker.merging("layers.0.downsample.", width)
    maker.norm("norm", 2 * width)
    p, x = maker.p, maker.normal(1, 3, 3, 15, 17)
    tokens = F.conv3d(F.pad(x, (0, 3, 0, 1, 0, 1)), p["patch_embed.proj.weight"], stride=(2, 4, 4))
    tokens = tokens + p["patch_embed.proj.bias"][:, None, None, None]
    first = norm(p, "patch_embed.norm", tokens[0].permute(1, 2, 3, 0), 1e-5)
    second = merge(p, "layers.0.downsample.", video_stage(p, "layers.0.", first, window, 2)[-1], 1e-5)
    third = video_stage(p, "layers.1.", second, window, 2)[-1]
    arrays = {
        "patch_embed": first,
        "out_layer0": second,
        "out_layer1": third,
        "out": norm(p, "norm", third, 1e-5),
    }
    arrays = {"x": x, **{name: t.permute(3, 0, 1, 2)[None] for name, t in arrays.items()}}
    meta = {"patch_size": [2, 4, 4], "in_chans": 3, "embed_dim": width, "depths": [2, 2], "num_heads": [2, 4]}
    return save(path, p, arrays, {**meta, "window_size": list(window), "mlp_ratio": 2.0, "patch_norm": True})


def swin_unet(path: Path, image: int = 32, window: int = 2, classes: int = 3) -> Path:
    """Swin-Unet: windows shrink where the map is as small, when the network is built."""
    maker, width, heads, eps = Maker(3), 8, (2, 2, 4, 4), 1e-5
    maker.p["patch_embed.proj.weight"] = maker.normal(width, 3, 4, 4) / math.sqrt(48)
    maker.p["patch_embed.proj.bias"] = 0.2 * maker.normal(width)
    maker.norm("patch_embed.norm", width)
    sides = [image // 4 >> i for i in range(4)]
    cuts = [min(side, window) for side in sides]
    shifts = [0 if side <= window else window // 2 for side in sides]

    def stage_params(at: str, i: int) -> None:
        for j in range(2):
            maker.block(f"{at}blocks.{j}.", width << i, heads[i], (1, cuts[i], cuts[i]))
        if shifts[i]:
            mask = additive((1, sides[i], sides[i]), (1, cuts[i], cuts[i]), (0, shifts[i], shifts[i]))
            maker.p[f"{at}blocks.1.attn_mask"] = mask

    def stage(at: str, x: Tensor, i: int) -> Tensor:
        cut, shift = (1, cuts[i], cuts[i]), (0, shifts[i], shifts[i])
        x = block(p, f"{at}blocks.0.", x, cut, cut, (0, 0, 0), eps)
        return block(p, f"{at}blocks.1.", x, cut, cut, shift, eps)

    for i in range(4):
        stage_params(f"layers.{i}.", i)
        if i < 3:
            maker.merging(f"layers.{i}.downsample.", width << i)
    maker.norm("norm", 8 * width)
    maker.expanding("layers_up.0.", 8 * width, 4 * width, 2)
    for i in range(1, 4):
        maker.linear(f"concat_back_dim.{i}", width << 3 - i, width << 4 - i)
        stage_params(f"layers_up.{i}.", 3 - i)
        if i < 3:
            maker.expanding(f"layers_up.{i}.upsample.", width << 3 - i, width << 2 - i, 2)
    maker.norm("norm_up", width)
    maker.expanding("up.", width, width, 4)
    maker.p["output.weight"] = maker.normal(classes, width, 1, 1) / math.sqrt(width)

    images = maker.normal(2, 3, image, image)
    # In float64: through this deep a network, two roundings in float32 may differ by more than the tolerance.
    p = {name: t.double() if t.is_floating_point() else t for name, t in maker.p.items()}
    many: dict[str, list[Tensor]] = {}

    def keep(name: str, x: Tensor) -> None:
        many.setdefault(name, []).append(x)

    for sample in images.double():
        x = F.conv2d(sample[None], p["patch_embed.proj.weight"], p["patch_embed.proj.bias"], stride=4)
        x = norm(p, "patch_embed.norm", x.permute(0, 2, 3, 1), eps)
        skips = []
        for i in range(4):
            skips.append(x)
            keep(f"skip{i}", x.reshape(-1, x.shape[-1]))
            x = stage(f"layers.{i}.", x, i)
            x = merge(p, f"layers.{i}.downsample.", x, eps) if i < 3 else x
        x = norm(p, "norm", x, eps)
        keep("bottleneck", x.reshape(-1, x.shape[-1]))
        x = expand(p, "layers_up.0.", x, 2, eps)
        for i in range(1, 4):
            x = stage(
                f"layers_up.{i}.", linear(p, f"concat_back_dim.{i}", torch.cat([x, skips[3 - i]], -1)), 3 - i
            )
            x = expand(p, f"layers_up.{i}.upsample.", x, 2, eps) if i < 3 else x
        x = norm(p, "norm_up", x, eps)
        keep("up_features", x.reshape(-1, width))
        x = expand(p, "up.", x, 4, eps)
        keep("final_expand", x.reshape(-1, width))
        keep("out", F.conv2d(x.permute(0, 3, 1, 2), p["output.weight"])[0])
    meta = {"cls": "SwinTransformerSys", "img_size": image, "num_classes": classes, "depths": [2, 2, 2, 2]}
    arrays = {"x": images, **{name: torch.stack(xs).float() for name, xs in many.items()}}
    return save(
        path, maker.p, arrays, {**meta, "num_heads": list(heads), "window_size": window, "mlp_ratio": 2.0}
    )


def masks(path: Path) -> Path:
    arrays = {
        "mask_D4H8W8_w2x4x4_s1x2x2": additive((4, 8, 8), (2, 4, 4), (1, 2, 2)),
        "mask_D3H4W8_w344_s022": additive((3, 4, 8), (3, 4, 4), (0, 2, 2)),
        "mask_D2H5W5_w(2, 5, 5)_s(0, 0, 0)": additive((2, 5, 5), (2, 5, 5), (0, 0, 0)),
        # Named by what was asked for, of which less is left on short axes.
        "mask_D3H8W8_w844_s422": additive((3, 8, 8), (3, 4, 4), (0, 2, 2)),
        "mask_D2H5W5_w2x7x7_s1x3x3": additive((2, 5, 5), (2, 5, 5), (0, 0, 0)),
        "relative_position_index_w244": full_index((2, 4, 4)),
        "relative_position_index_1x3x2": full_index((1, 3, 2)),
        "relative_position_index_2d_w3": full_index((1, 3, 3)),
        "relative_position_index_full": full_index((2, 3, 3)),
    }
    return save(path, {}, arrays, None)


FILES: dict[str, Callable[[Path], Path]] = {
    "T1": lambda path: layer(path, (1, 8, 8), (2, 4, 4), merging=False),
    "small_all": lambda path: layer(path, (2, 5, 5), (2, 7, 7), merging=False),
    "equal_window": lambda path: layer(path, (2, 4, 7), (2, 4, 4), merging=True, batch=2),
    "p244_pad": backbone,
    "unet": swin_unet,
    "unet_small": lambda path: swin_unet(path, window=4),
    "masks": masks,
}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("vectors")
    return {name: make(folder / f"{name}.safetensors") for name, make in FILES.items()}


def altered(path: Path, folder: Path, change: Callable[[dict[str, Tensor]], None]) -> Path:
    """The file with other tensors."""
    with safe_open(path, "pt") as reader:
        about = reader.metadata()
    tensors = load_file(path)
    change(tensors)
    out = folder / path.name
    save_file(tensors, out, about)
    return out


@pytest.mark.parametrize("name", list(FILES))
def test_right_numbers_are_green(name: str, files: dict[str, Path]) -> None:
    assert understands(files[name])
    rows = check(files[name])
    assert [(row.quantity, row.note) for row in rows if not row.passed] == []
    with safe_open(files[name], "pt") as reader:
        expected = {n for n in reader.keys() if not n.startswith("param.")} - set(INPUTS)  # noqa: SIM118
    assert expected <= {row.quantity for row in rows}


@pytest.mark.parametrize("name", list(FILES))
def test_every_other_number_is_red(name: str, files: dict[str, Path], tmp_path: Path) -> None:
    with safe_open(files[name], "pt") as reader:
        arrays = [n for n in reader.keys() if not n.startswith("param.") and n not in INPUTS]  # noqa: SIM118

    def change(tensors: dict[str, Tensor]) -> None:
        for array in arrays:
            tensors[array].view(-1)[-1] += 1 if array.startswith("relative") else 1e-2

    rows = check(altered(files[name], tmp_path, change))
    assert set(arrays) <= {row.quantity for row in rows if not row.passed}


@pytest.mark.parametrize("name", ["small_all", "p244_pad", "unet"])
def test_every_parameter_counts(name: str, files: dict[str, Path], tmp_path: Path) -> None:
    for part in ("qkv.weight", "bias_table", "norm2.bias", "fc2.weight"):

        def change(tensors: dict[str, Tensor], part: str = part) -> None:
            named = [n for n in tensors if n.endswith(part)]
            tensor = tensors[named[-1]]
            tensor += torch.linspace(-1, 1, tensor.numel()).view_as(tensor)

        failed = [row for row in check(altered(files[name], tmp_path, change)) if not row.passed]
        assert "out" in {row.quantity for row in failed}, part


@pytest.mark.parametrize("name", ["T1", "p244_pad", "unet"])
def test_what_is_not_understood_is_red(name: str, files: dict[str, Path], tmp_path: Path) -> None:
    def unknown(tensors: dict[str, Tensor]) -> None:
        tensors["something"] = torch.zeros(2)

    rows = [row for row in check(altered(files[name], tmp_path, unknown)) if not row.passed]
    assert [row.quantity for row in rows] == ["something"]

    def unmapped(tensors: dict[str, Tensor]) -> None:
        tensors["param.something.weight"] = torch.zeros(2)

    rows = check(altered(files[name], tmp_path, unmapped))
    assert len(rows) == 1 and not rows[0].passed and "something.weight" in rows[0].note

    def other_index(tensors: dict[str, Tensor]) -> None:
        first = min(n for n in tensors if n.endswith("relative_position_index"))
        tensors[first].view(-1)[0] += 1

    rows = [row for row in check(altered(files[name], tmp_path, other_index)) if not row.passed]
    assert [row.quantity for row in rows] == ["rebuilt buffers"]


@pytest.mark.parametrize("name", ["T1", "p244_pad", "unet"])
def test_weights_alone_prove_nothing(name: str, files: dict[str, Path], tmp_path: Path) -> None:
    def without_outputs(tensors: dict[str, Tensor]) -> None:
        for array in [n for n in tensors if not n.startswith("param.") and n not in INPUTS]:
            del tensors[array]

    rows = check(altered(files[name], tmp_path, without_outputs))
    assert [row.note for row in rows if not row.passed] == ["it holds nothing to compare"]


def test_the_exact_bias_is_not_that_of_a_reduced_window(files: dict[str, Path], monkeypatch: Any) -> None:
    monkeypatch.setitem(swin_video.VIDEO_SWIN, "bias_slice", "exact")
    assert all(row.passed for row in check(files["T1"]))  # only dates are cut: the same rows
    assert not all(row.passed for row in check(files["small_all"]))


def test_normalised_pixels(tmp_path: Path) -> None:
    golden = Path(__file__).parents[1] / "golden" / "swin" / "swinmae_tiny.safetensors"
    tensors = load_file(golden)
    with safe_open(golden, "pt") as reader:
        meta = json.loads(reader.metadata()["meta"])
    target = tensors["target"]
    mean, spread = target.mean(-1, keepdim=True), (target.var(-1, keepdim=True) + 1e-6).sqrt()
    errors = (((tensors["pred"] - (target - mean) / spread) ** 2).mean(-1) * tensors["mask"]).sum()
    tensors["loss"] = (errors / tensors["mask"].sum())[None]
    for kept in (target, (target - mean) / spread):
        tensors["target"] = kept
        path = save(tmp_path / "normpix.safetensors", {}, tensors, {**meta, "norm_pix_loss": True})
        assert [row.quantity for row in check(path) if not row.passed] == []
    path = save(tmp_path / "wrong.safetensors", {}, tensors, {**meta, "norm_pix_loss": False})
    assert {row.quantity for row in check(path) if not row.passed} == {"loss", "target"}
