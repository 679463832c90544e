"""Several processes as one run: who this one is, and what they decide together.

A process learns its place from its environment, as torchrun sets it (RANK, WORLD_SIZE, LOCAL_RANK) or SLURM.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import distributed as dist

from swath.errors import ConfigError, SwathError

T = TypeVar("T")


@dataclass(frozen=True)
class World:
    """The place of a process among all.

    Attributes:
        rank: number of this process; 0 writes what is written once.
        size: how many there are.
        local_rank: its number on this machine.
        local_size: how many are on this machine.
    """

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process writes files and speaks."""
        return self.rank == 0


def world() -> World:
    """From the environment: torchrun's variables, else those of a SLURM job of several tasks.

    Raises:
        ConfigError: the variables contradict each other.
    """
    env = os.environ
    if "RANK" in env and "WORLD_SIZE" in env:
        names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
        rank, size, local, here = (
            _number(env.get(n, "0" if "RANK" in n else env["WORLD_SIZE"]), n) for n in names
        )
    elif _number(env.get("SLURM_NTASKS", "1"), "SLURM_NTASKS") > 1 and "SLURM_PROCID" in env:
        rank, size = (
            _number(env["SLURM_PROCID"], "SLURM_PROCID"),
            _number(env["SLURM_NTASKS"], "SLURM_NTASKS"),
        )
        local = _number(env.get("SLURM_LOCALID", "0"), "SLURM_LOCALID")
        here = size // max(1, _number(env.get("SLURM_NNODES", "1"), "SLURM_NNODES"))
    else:
        return World()
    if not (0 <= rank < size and 0 <= local < here <= size and size % here == 0):
        raise ConfigError(
            f"process {rank} of {size}, {local} of {here} on this machine, cannot be",
            where="RANK, WORLD_SIZE, LOCAL_RANK, LOCAL_WORLD_SIZE",
            mend="start all machines with the same number of processes, with torchrun or srun",
        )
    return World(rank, size, local, here)


def _number(text: str, name: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ConfigError(
            f"{text!r} is no number", where=name, mend="start it with torchrun or srun"
        ) from None


@contextlib.contextmanager
def joined(device: str) -> Iterator[World]:
    """All processes connected while the block runs; nothing happens where there is one.

    Args:
        device: "cuda" (NCCL) or "cpu" (gloo).

    Raises:
        SwathError: another process is gone.
    """
    place = world()
    if place.size == 1 or dist.is_initialized():
        yield place
        return
    _name_the_leader(place)
    log = logging.getLogger("swath")
    level = log.level
    if device == "cuda":
        torch.cuda.set_device(place.local_rank)
    dist.init_process_group("nccl" if device == "cuda" else "gloo", rank=place.rank, world_size=place.size)
    try:
        if not place.leads:
            log.setLevel(logging.ERROR)  # what is true of all is said once
        yield place
    except RuntimeError as err:
        if not isinstance(err, dist.DistError) and "gloo" not in str(err):
            raise
        raise SwathError(
            f"process {place.rank} of {place.size} lost another one of the run",
            mend="see what that one said last, and go on with run.resume",
        ) from err
    finally:
        log.setLevel(level)
        dist.destroy_process_group()


def _name_the_leader(place: World) -> None:
    """torchrun's variables under SLURM, so that whatever follows knows one kind of environment."""
    env = os.environ
    env.setdefault("RANK", str(place.rank))
    env.setdefault("WORLD_SIZE", str(place.size))
    env.setdefault("LOCAL_RANK", str(place.local_rank))
    env.setdefault("LOCAL_WORLD_SIZE", str(place.local_size))
    env.setdefault("GROUP_RANK", str(place.rank // place.local_size))
    if "MASTER_ADDR" not in env:
        from lightning_fabric.plugins.environments.slurm import SLURMEnvironment

        env["MASTER_ADDR"] = SLURMEnvironment.resolve_root_node_address(
            env.get("SLURM_NODELIST", "127.0.0.1")
        )
        # The same on all machines of a job, and another for another job.
        env.setdefault("MASTER_PORT", str(20_000 + int(env.get("SLURM_JOB_ID", "0")) % 20_000))


def decided(decide: Callable[[], T]) -> T:
    """What process 0 finds, told to all; its error is everybody's.

    Raises:
        SwathError: as `decide` did in process 0.
    """
    if not several():
        return decide()
    told: list[tuple[bool, object]] = [(False, None)]
    error: SwathError | None = None
    if dist.get_rank() == 0:
        try:
            told = [(True, decide())]
        except SwathError as err:
            error, told = err, [(False, str(err))]
    dist.broadcast_object_list(told)
    if error is not None:
        raise error
    good, value = told[0]
    if not good:
        raise SwathError(str(value))
    return value  # type: ignore[return-value]  # what process 0 returned, which is a T


def several() -> bool:
    """Whether processes are connected."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def any_of(*flags: bool, device: torch.device) -> tuple[bool, ...]:
    """Each flag, true if any process has it set."""
    if not several():
        return flags
    told = torch.tensor([float(f) for f in flags], device=device)
    dist.all_reduce(told, dist.ReduceOp.MAX)
    return tuple(bool(t) for t in told.tolist())


def gathered(value: T) -> list[T]:
    """The value of every process, in the order of their numbers."""
    if not several():
        return [value]
    told: list[T | None] = [None] * dist.get_world_size()
    dist.all_gather_object(told, value)
    return told  # type: ignore[return-value]  # every place is filled
