"""Networks trained on the reach by several rules, and compared with the recordings along the way (E1 to E4, learning rates).

Variants that differ in gain or learning rate alone are one tensor program, all their seeds inside; baselines share initial
weights and batches.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from descent.core.context import Context
from descent.core.iterate import Trace, iterate
from descent.core.job import Job, Variant
from descent.core.records import Records
from descent.papers.eprop.matching import matched
from descent.papers.eprop.network import Seeds, initial, random_feedback, wiring_of
from descent.papers.eprop.reach_task import REACTION, one_trial_each, reach, reach_task, recorded, trial_numbers
from descent.papers.eprop.rounds import Test, look_with, measure_with, rounds
from descent.papers.eprop.similarity import centred, half_distances, nuclear, participation_ratio, random_halves
from descent.papers.eprop.start import start_numbers
from descent.papers.eprop.training import learner

FREE = ("gain", "lr")
"""Settings that may differ from row to row of one program."""
CURVES = ("error", "distance", "unshifted_distance", "cka_distance")


class Splits(NamedTuple):
    """A seed's random halves: what its networks are held against."""

    half: Tensor  # (splits, n) recorded units
    chosen: Tensor  # (splits, n) units of a model
    floor: Tensor  # (splits,) distance of the other half


def run(job: Job, context: Context) -> Records:
    records = Records()
    recordings = context.data[job.variants[0].params["recordings"]]
    programs = [list(group) for _, group in groupby(sorted(job.variants, key=_program), key=_program)]
    parts: list[list[dict[str, Tensor]]] = [[] for _ in programs]
    # Seeds outermost: what is done of a long job is whole seeds, with all baselines.
    for at in range(max(_chunks(variants) for variants in programs)):
        for number, variants in enumerate(programs):
            stack = variants[0].params["stack"] or len(variants[0].seeds)
            if seeds := variants[0].seeds[at * stack : (at + 1) * stack]:
                name = f"{variants[0].method}-{number}-{at}"
                parts[number].append(_trained(name, variants, seeds, recordings, context))
    for variants, part in zip(programs, parts, strict=True):
        _record(variants, part, recordings, context, records)
    return records


def _chunks(variants: Sequence[Variant]) -> int:
    """How many parts the seeds are trained in."""
    stack = variants[0].params["stack"] or len(variants[0].seeds)
    return -(-len(variants[0].seeds) // stack)


def _program(variant: Variant) -> str:
    """Variants that agree on this are one tensor program."""
    same = {name: value for name, value in variant.params.items() if name not in FREE}
    return f"{variant.method} {sorted(same.items())} {variant.seeds}"


def _trained(
    name: str, variants: Sequence[Variant], seeds: Sequence[int], recordings: Mapping[str, np.ndarray], context: Context
) -> dict[str, Tensor]:
    """Train the variants on some of their seeds. Curves (T, V, S), and what is kept of each run, (V, S, ...)."""
    if (done := context.checkpoint.load(f"{name} done")) is not None:
        return done
    p, V, S = variants[0].params, len(variants), len(seeds)
    rows = [seed for _ in variants for seed in seeds]
    per_row = lambda setting: torch.tensor([v.params[setting] for v in variants for _ in seeds])  # noqa: E731
    numbers = start_numbers(context.streams, seeds, p["units"], 3, 2)
    numbers = Seeds(*(x.repeat(V, *(1 for _ in x.shape[1:])).to(context.device) for x in numbers))
    form = {"dale": p["dale"], "density": p["density"]}
    wiring, network = wiring_of(numbers, **form), {"alpha": p["alpha"], "activation": p["activation"]}
    parameters = initial(numbers, gain=per_row("gain").to(context.device), **form)
    draw = trial_numbers(
        context.streams, rows, **{n: p[n] for n in ("batch", "cue_delays", "hold_delays", "stratified")}
    )
    tables = reach(recordings, device=context.device)
    task = reach_task(tables, draw, length=p["length"], stride=p["stride"])
    learning = learner(
        task, rule=variants[0].method, lr=per_row("lr").to(context.device), penalty=p["penalty"], wiring=wiring,
        feedback=random_feedback(numbers), **network,
    )  # fmt: skip
    test = test_of(p, recordings, context.device)
    method = rounds(learning, look_with(test, wiring, **network), every=p["every"], target_error=p["target_error"])
    many = p["updates"] // p["every"]
    state, trace = iterate(
        context, name, method.init(parameters), method,
        steps=many, block=max(1, p["block"] // p["every"]), measure=measure_with(test), at=range(many + 1),
    )  # fmt: skip
    found = {curve: values.unflatten(1, (V, S)) for curve, values in curves(trace, test.recorded.cpu()).items()}
    kept = {
        "kept": state.kept, "end": state.look.window,
        "first": wiring.effective(parameters.W), "last": wiring.effective(state.learning.parameters.W),
    }  # fmt: skip
    done = {**found, **{part: value.cpu().unflatten(0, (V, S)) for part, value in kept.items()}}
    context.checkpoint.save(f"{name} done", lambda: done, force=True)
    context.checkpoint.save(name, lambda: None, force=True)  # its products are no longer needed
    return done


def test_of(p: Mapping[str, Any], recordings: Mapping[str, np.ndarray], device: torch.device | str) -> Test:
    """The test trials and the window in which they are compared, every `stride`-th sample."""
    stride = p["stride"]
    columns = np.arange(p["data_from"], 121, stride)
    window = torch.arange(p["window_from"], p["window_from"] + 121 - p["data_from"], stride)
    trials = one_trial_each(p["test_cue"], p["test_hold"], device)
    batch = reach(recordings, device=device).batch(trials, p["test_length"], stride)
    rates = torch.as_tensor(recorded(recordings, columns), dtype=torch.float32).flatten(0, 1)
    steps = (window // stride, (window - REACTION) // stride)
    return Test(batch, centred(rates).to(device), *(part.to(device) for part in steps))


def curves(trace: Trace, recordings: Tensor) -> dict[str, Tensor]:
    """(T, K) error and distances after every round, from the products that were measured."""
    size, gram = recordings.norm(), (recordings.mT @ recordings).norm()
    found = {"error": torch.as_tensor(trace.values["error"])}
    for name, curve in (("window", "distance"), ("unshifted", "unshifted_distance")):
        product = torch.as_tensor(trace.values[f"{name}_product"]).unflatten(2, (-1, recordings.shape[1]))
        cosine = nuclear(product) / (torch.as_tensor(trace.values[f"{name}_norm"]) * size)
        found[curve] = cosine.clamp(-1, 1).arccos() / (torch.pi / 2)
        if name == "window":
            alike = product.square().sum((2, 3)) / (torch.as_tensor(trace.values["window_gram"]) * gram)
            found["cka_distance"] = 1 - alike
    return found


def _record(variants, parts, recordings, context: Context, records: Records) -> None:
    """Curves; measures at equal error; what is said of the activity there and at the end; arrays for E7 and the figures."""
    p, seeds = variants[0].params, variants[0].seeds
    joined = {name: torch.cat([part[name] for part in parts], dim=2 if name in CURVES else 1) for name in parts[0]}
    steps = np.arange(0, p["updates"] + 1, p["every"])
    y, splits = splits_of(p, recordings, seeds, context)
    for i, variant in enumerate(variants):
        own = {name: joined[name][:, i].double().numpy() for name in CURVES}
        for name in CURVES:
            # A silent network has an error and no distance.
            lost = np.where(np.isfinite(own["error"]), "undefined", "diverged")
            records.add(variant, name, own[name], step=steps, status=np.where(np.isfinite(own[name]), "ok", lost))
        at_target = {name: matched(steps, own["error"], own[name], p["target_error"]) for name in CURVES[1:]}
        for name, match in at_target.items():
            _add(records, variant, f"matched_{name}", match.values, match.status)
        match = at_target["distance"]
        records.add(variant, "updates_needed", match.updates, status=match.status)
        loose = matched(steps, own["error"], own["distance"], p["loose_error"])
        _add(records, variant, "loose_distance", loose.values, loose.status)
        kept, W = joined["kept"][i], {part: joined[part][i] for part in ("first", "last")}
        normalised = []
        for x, split in zip(kept.double(), splits, strict=True):
            far = half_distances(x, y, split.chosen, split.half)
            normalised.append(((far - split.floor) / (1 - split.floor)).mean().item())
        _add(records, variant, "normalised_distance", normalised, match.status)
        _add(records, variant, "dimensions", participation_ratio(kept.double()).numpy(), match.status)
        label = array_label(variant)
        records.array(f"activity_{label}", leading(kept, p["components"]))
        for part, matrices in W.items():
            records.array(f"eigenvalues_{part}_{label}", eigenvalues(matrices))


def _add(records: Records, variant: Variant, metric: str, values, status: Sequence[str]) -> None:
    """A number at theta; undefined where theta was reached and the measure does not exist (silent units)."""
    sound = np.isfinite(values)
    records.add(
        variant,
        metric,
        values,
        status=["undefined" if s == "ok" and not ok else s for s, ok in zip(status, sound, strict=True)],
    )


def array_label(variant: Variant) -> str:
    """`eprop`, `eprop_gain=0.5`: names the variant's arrays."""
    return "_".join([variant.method, *(f"{name}={value}" for name, value in sorted(variant.setting.items()))])


def splits_of(p: Mapping[str, Any], recordings, seeds: Sequence[int], context: Context) -> tuple[Tensor, list[Splits]]:
    """The recordings (P, q), and for each seed its random halves, units of a model, and the halves' distances."""
    columns = np.arange(p["data_from"], 121, p["stride"])
    y = torch.as_tensor(recorded(recordings, columns)).flatten(0, 1)
    half = min(p["half"], y.shape[1] // 2, p["units"])
    found = []
    for seed in seeds:
        random = context.streams.numpy("halves", seed)
        halves = random_halves(random, y.shape[1], half, p["splits"])
        chosen = np.stack([random.permutation(p["units"])[:half] for _ in range(p["splits"])])
        floor = half_distances(y, y, halves[:, 1], halves[:, 0])
        found.append(Splits(halves[:, 0], torch.as_tensor(chosen), floor))
    return y, found


def leading(activity: Tensor, components: int) -> Tensor:
    """(S, P, c) the activity on its first principal components, float32; NaN where it was not kept."""
    x = centred(activity.double())
    sound = x.isfinite().all(-1, keepdim=True).all(-2, keepdim=True)
    left, values, _ = torch.linalg.svd(torch.where(sound, x, torch.zeros_like(x)), full_matrices=False)
    scores = (left * values[:, None])[..., :components]
    return torch.where(sound, scores, torch.full_like(scores, torch.nan)).float()


def eigenvalues(W: Tensor) -> Tensor:
    """(S, N, 2) real and imaginary parts, NaN where W is not finite."""
    sound = W.isfinite().all(-1, keepdim=True).all(-2, keepdim=True)
    found = torch.view_as_real(torch.linalg.eigvals(torch.where(sound, W, torch.zeros_like(W)).double()))
    return torch.where(sound, found, torch.full_like(found, torch.nan)).float()
