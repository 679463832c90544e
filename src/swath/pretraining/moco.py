"""MoCo: keys come from a slowly moving copy of the encoder.

v2 (Chen et al., 2020) compares a query with its key and a queue of earlier keys. v3 (Chen et al., ICCV 2021) has no
queue: a predictor, both directions, and the keys of the batch as negatives.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from swath.errors import ConfigError
from swath.pretraining.config import ViewConfig
from swath.pretraining.contrast import Head, info_nce, pass_flops, pooled, unit
from swath.pretraining.objective import ObjectiveOutput, Part, total
from swath.pretraining.ranks import all_ranks, rank
from swath.pretraining.views import DEFAULT_VIEWS, View, noise_length, two_views


@dataclass(frozen=True)
class MoCoConfig:
    """The loss and the heads; `MOCO` has the published ones.

    Attributes:
        version: "v2" or "v3".
        temperature: of the similarities.
        momentum: of the copy; in v3 it rises from here to 1 along half a cosine.
        hidden: width of the heads' hidden layers; in v2 as wide as the encoder if 0.
        embedding: width in which views are compared.
        queue: keys kept (v2).
        freeze_patch_embed: the first layer stays as it starts, which keeps a ViT's training from collapsing (v3).
    """

    version: Literal["v2", "v3"] = "v3"
    temperature: float = 0.2
    momentum: float = 0.99
    hidden: int = 4096
    embedding: int = 256
    queue: int = 0
    freeze_patch_embed: bool = False

    def __post_init__(self) -> None:
        if self.version not in ("v2", "v3"):
            raise ConfigError(
                f"unknown version {self.version!r}", where="contrast.version", mend="take v2 or v3"
            )
        if self.temperature <= 0:
            raise ConfigError(f"{self.temperature} is not above 0", where="contrast.temperature")
        if not 0.0 <= self.momentum < 1.0:
            raise ConfigError(f"{self.momentum} is not in [0, 1)", where="contrast.momentum", mend="try 0.99")
        if (self.queue > 0) != (self.version == "v2"):
            raise ConfigError(
                f"{self.version} with a queue of {self.queue}",
                where="contrast.queue",
                mend="give v2 a queue, such as 65536, and v3 none",
            )


MOCO: dict[str, MoCoConfig] = {
    "v2": MoCoConfig("v2", momentum=0.999, hidden=0, embedding=128, queue=65536),
    "v3": MoCoConfig("v3", freeze_patch_embed=True),
}


class MoCoObjective(nn.Module):
    """Queries from the encoder, keys from its copy.

    The copy and the queue are part of the state, so a run that goes on has them as they were. They move in
    `after_step`, once per optimiser step; a forward pass alone changes nothing.

    Args:
        network: an encoder with `features`; alone of all this goes into the weights.
        width: of its pooled vector, D.
        config: of the loss.
        views: how views differ.
    """

    queue: Tensor
    queue_holds: Tensor
    queue_at: Tensor

    def __init__(
        self,
        network: nn.Module,
        width: int,
        config: MoCoConfig = MOCO["v3"],
        views: ViewConfig = DEFAULT_VIEWS,
    ) -> None:
        super().__init__()
        self.network = network
        self.config = config
        self.views = views
        hidden, third = config.hidden or width, config.version == "v3"
        if third:
            self.head = Head((width, hidden, hidden, config.embedding), norm=True, last_norm=True)
            self.predictor = Head((config.embedding, hidden, config.embedding), norm=True, last_norm=True)
        else:
            self.head = Head((width, hidden, config.embedding), norm=False, last_norm=False)
            self.register_buffer("queue", torch.zeros(config.queue, config.embedding))
            # Empty places are no negatives (the published queue starts full of random vectors).
            self.register_buffer("queue_holds", torch.zeros(config.queue, dtype=torch.bool))
            self.register_buffer("queue_at", torch.zeros((), dtype=torch.long))
        if config.freeze_patch_embed:
            network.get_submodule("patch_embed").requires_grad_(False)
        self.key_network = copy.deepcopy(network).requires_grad_(False)
        self.key_head = copy.deepcopy(self.head).requires_grad_(False)
        self._new_keys: list[tuple[Tensor, Tensor]] = []

    def noise_length(self, pixels_shape: Sequence[int]) -> int:
        """How many uniform numbers a sample of the shape [B,T,C,H,W] needs."""
        return noise_length(pixels_shape)

    def flops(self, pixels_shape: Sequence[int]) -> float:
        """Operations of one sample's two views, forward and backward, for pixels of shape [T,C,H,W]; without heads."""
        one = pass_flops(self.network, pixels_shape, self.views)
        return (8.0 if self.config.version == "v3" else 4.0) * one  # keys are not differentiated

    def forward(
        self,
        pixels: Tensor,
        valid: Tensor | None = None,
        *,
        noise: Tensor,
        days: Tensor | None = None,
        wavelengths: Sequence[float] | None = None,
    ) -> ObjectiveOutput:
        """The loss of a batch; samples of which a view holds nothing count neither as pairs nor as negatives.

        Args:
            pixels: [B,T,C,H,W], normalised.
            valid: bool [B,T,C,H,W] or None (all valid).
            noise: [B, noise_length] in [0, 1), see `two_views`.
            days: [B,T,2] day of year and year, or None.
            wavelengths: nm per band, or None for the model's bands.
        """
        views = two_views(pixels, valid, days, noise, self.views)
        holds = views[0].holds & views[1].holds
        both = self.config.version == "v3"
        queries = [self._query(v, holds, wavelengths) for v in (views if both else views[:1])]
        with torch.no_grad():
            asked = reversed(views) if both else views[1:]
            keys = [unit(self.key_head(pooled(self.key_network, v, wavelengths), holds)) for v in asked]
        with torch.autocast(pixels.device.type, enabled=False):
            compare = self._with_batch if both else self._with_queue
            found = [compare(q, k, holds) for q, k in zip(queries, keys, strict=True)]
        if not both and self.training and torch.is_grad_enabled():
            self._new_keys.append((keys[0], holds))
        numerator = torch.stack([p.numerator for p in found]).sum()
        # v3 adds up both directions and multiplies by twice the temperature, which keeps the gradient's size.
        weight = 2.0 * self.config.temperature if both else 1.0
        parts: dict[str, Part] = {"contrast": Part(numerator, found[0].count, weight)}
        return ObjectiveOutput(total(parts), parts)

    def _query(self, view: View, holds: Tensor, wavelengths: Sequence[float] | None) -> Tensor:
        x = self.head(pooled(self.network, view, wavelengths), holds)
        return unit(self.predictor(x, holds) if self.config.version == "v3" else x)

    def _with_batch(self, query: Tensor, key: Tensor, holds: Tensor) -> Part:
        """Against the keys of this batch on all ranks."""
        every, held = all_ranks(key), all_ranks(holds)
        own = rank() * len(query) + torch.arange(len(query), device=query.device)
        scores = query @ every.T
        allowed = held & (torch.arange(len(every), device=query.device) != own[:, None])
        positive = scores.gather(1, own[:, None])[:, 0]
        return info_nce(positive, scores, allowed, holds, self.config.temperature)

    def _with_queue(self, query: Tensor, key: Tensor, holds: Tensor) -> Part:
        # A copy: the queue moves after the step, whose backward pass still needs it as it was.
        negative = query @ self.queue.clone().T
        positive = (query * key).sum(dim=1)
        return info_nce(positive, negative, self.queue_holds.clone(), holds, self.config.temperature)

    def network_loaded(self) -> None:
        """Makes the copy what the network is, once weights were loaded into the network."""
        self.key_network.load_state_dict(self.network.state_dict())

    def momentum(self, step: int, steps: int) -> float:
        """The copy's momentum after step 0 … steps - 1."""
        if self.config.version == "v2":
            return self.config.momentum
        return 1.0 - (1.0 - self.config.momentum) * (math.cos(math.pi * step / steps) + 1.0) / 2.0

    @torch.no_grad()
    def after_step(self, step: int, steps: int) -> None:
        """Moves the copy towards the encoder and the new keys into the queue.

        Args:
            step: the optimiser step that was done, from 0.
            steps: of the run.
        """
        share = 1.0 - self.momentum(step, steps)
        for copied, module in ((self.key_network, self.network), (self.key_head, self.head)):
            torch._foreach_lerp_(list(copied.parameters()), [p.detach() for p in module.parameters()], share)
        if self._new_keys:
            keys = torch.cat([all_ranks(k) for k, _ in self._new_keys])
            holds = torch.cat([all_ranks(h) for _, h in self._new_keys])
            self._new_keys.clear()
            self._enqueue(keys, holds)

    def skip_step(self) -> None:
        """Forgets the keys of a step that was not done."""
        self._new_keys.clear()

    def _enqueue(self, keys: Tensor, holds: Tensor) -> None:
        size = len(self.queue)
        keys, holds = keys[-size:], holds[-size:]
        # A step that failed leaves keys that are no numbers; they are never compared with.
        finite = torch.isfinite(keys).all(dim=1)
        place = (self.queue_at + torch.arange(len(keys), device=keys.device)) % size
        self.queue[place] = torch.where(finite[:, None], keys, torch.zeros_like(keys)).to(self.queue.dtype)
        self.queue_holds[place] = holds & finite
        self.queue_at.copy_((self.queue_at + len(keys)) % size)
