"""The centre-out reach with an instructed delay, as in the recordings of Hatsopoulos and colleagues.

Three inputs: sine and cosine of the direction, shown as a bump of 230 ms, and a hold signal; two outputs: the angles of
shoulder and elbow, from 100 ms before the movement that follows the end of the hold to 400 ms after. Times are in samples
of 10 ms until a network with longer steps takes every `stride`-th of them. All as in the official code, but for the
stratified batches and the shorter delays of our smaller scale.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from descent.core.streams import Streams
from descent.papers.eprop.tasks import Batch, Task, squared_error

RISE = (0.05, 0.1, 0.2, 0.35, 0.65, 0.8, 0.9, 0.95)
BUMP = (*RISE, *[1.0] * 7, *RISE[::-1])
"""The cue, 23 samples; the hold ends in its last 8."""
DIRECTIONS = 8
LEAD, MOVEMENT = 10, slice(70, 121)
"""The output starts 10 samples before the hold ends, with the recordings' samples -100..400 ms."""
REACTION = 32
"""Samples from the end of the hold to what the comparison takes for movement onset (official code: 320 ms)."""


class Trials(NamedTuple):
    """When and where; integers."""

    direction: Tensor  # (..., B) 0..7, times 45 degrees
    cue: Tensor  # (..., B) sample at which the cue starts
    hold: Tensor  # (..., B) samples that the hold lasts after the cue


class Reach(NamedTuple):
    """The task's tables, looked up by time; on the device."""

    bump: Tensor  # (25,) the cue with a zero on either side
    ending: Tensor  # (10,) the hold: 1, its decline, 0
    place: Tensor  # (8, 2) sine and cosine
    angles: Tensor  # (8, 52, 2) a zero, then the movement

    def batch(self, trials: Trials, length: int, stride: int = 1) -> Batch:
        """The trials (K, B), every `stride`-th of `length` samples."""
        time = torch.arange(0, length, stride, device=self.bump.device)[:, None]  # (T, 1)
        direction, cue, hold = (part[:, None] for part in trials)  # (K, 1, B)
        end = cue + len(BUMP) + hold
        shown = self.bump[(time - cue + 1).clamp(0, len(BUMP) + 1)]  # (K, T, B)
        held = self.ending[(time - end + len(RISE) + 1).clamp(0, len(RISE) + 1)]
        x = torch.cat([shown[..., None] * self.place[direction], held[..., None]], dim=-1)
        since = time - end + LEAD  # 0 at the movement's first sample
        frames = self.angles.shape[1] - 1
        target = self.angles[direction, (since + 1).clamp(0, frames)]
        return Batch(x, target, (since < frames).to(x.dtype))


def reach(recordings: Mapping[str, np.ndarray], *, device: torch.device | str = "cpu", dtype=torch.float32) -> Reach:
    """The task of the recordings' directions and joint angles."""
    angles = np.stack([recordings["shoulderangle"], recordings["elbowangle"]], axis=-1)[:, MOVEMENT]
    degrees = np.deg2rad(45.0 * np.arange(DIRECTIONS))
    tables = (
        [0.0, *BUMP, 0.0], [1.0, *RISE[::-1], 0.0], np.stack([np.sin(degrees), np.cos(degrees)], axis=-1),
        np.concatenate([np.zeros_like(angles[:, :1]), angles], axis=1),
    )  # fmt: skip
    return Reach(*(torch.as_tensor(np.asarray(table), dtype=dtype).to(device) for table in tables))


def one_trial_each(cue: int, hold: int, device: torch.device | str = "cpu") -> Trials:
    """One trial a direction, all with the same delays: (1, 8)."""
    direction = torch.arange(DIRECTIONS)[None]
    return Trials(
        *(part.to(device) for part in (direction, torch.full_like(direction, cue), torch.full_like(direction, hold)))
    )


def reach_task(tables: Reach, draw: Callable[[int, int], Trials] | None, *, length: int, stride: int) -> Task:
    """The training task: batches of `draw`'s trials."""
    return Task(3, 2, lambda trials: tables.batch(trials, length, stride), squared_error, draw)


def trial_numbers(
    streams: Streams, seeds: Sequence[int], *, batch: int, cue_delays: int, hold_delays: int, stratified: bool
) -> Callable[[int, int], Trials]:
    """draw(k, count) -> Trials (count, K, B), a row a seed, from its own stream; a repeated seed repeats its trials.

    Stratified (ours): each direction has B / 8 trials; the hold of each falls into its own of B / 8 equal slices, the cue
    likewise in an order of its own. Otherwise (official): one trial a direction, then directions and delays at random.
    """
    rows = list(dict.fromkeys(seeds))
    index = [rows.index(seed) for seed in seeds]

    def draw(k: int, count: int) -> Trials:
        drawn = np.stack([_uniform(streams, seed, k, (count, batch)) for seed in rows], axis=1)  # (count, S, B, 4)
        if stratified:
            parts = _stratified(drawn, cue_delays, hold_delays)
        else:
            direction = (drawn[..., 0] * DIRECTIONS).astype(np.int64)
            direction[..., :DIRECTIONS] = np.arange(min(DIRECTIONS, batch))
            parts = (
                direction,
                (drawn[..., 1] * cue_delays).astype(np.int64),
                (drawn[..., 2] * hold_delays).astype(np.int64),
            )
        return Trials(*(torch.from_numpy(np.ascontiguousarray(part[:, index])) for part in parts))

    return draw


def _uniform(streams: Streams, seed: int, k: int, shape: Sequence[int]) -> np.ndarray:
    return streams.numpy("trials", seed, k).random((*shape, 4))


def _stratified(drawn: np.ndarray, cue_delays: int, hold_delays: int) -> tuple[np.ndarray, ...]:
    batch = drawn.shape[2]
    slices = batch // DIRECTIONS
    by_direction = drawn.reshape(*drawn.shape[:2], DIRECTIONS, slices, 4)
    order = by_direction[..., 3].argsort(-1)  # the cue's slices, shuffled within a direction
    cue = ((order + by_direction[..., 1]) / slices * cue_delays).astype(np.int64)
    hold = ((np.arange(slices) + by_direction[..., 2]) / slices * hold_delays).astype(np.int64)
    direction = np.broadcast_to(np.arange(DIRECTIONS)[:, None], cue.shape)
    return tuple(part.reshape(drawn.shape[:3]) for part in (direction, cue, hold))


def recorded(recordings: Mapping[str, np.ndarray], columns: Sequence[int] | slice) -> np.ndarray:
    """(8, samples, units) rates at the recordings' samples `columns`: condition-major rows once flattened."""
    return np.ascontiguousarray(np.moveaxis(recordings["firing_rate"], 0, 2).swapaxes(0, 1)[:, columns])
