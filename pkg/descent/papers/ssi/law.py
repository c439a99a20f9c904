"""The law check (E0): the reduced simulator against the direct one, chains of independent noise, at two times."""

from __future__ import annotations

import torch

from descent.core.context import Context
from descent.core.iterate import iterate
from descent.core.job import Job, Variant
from descent.core.records import Records
from descent.papers.ssi import single
from descent.papers.ssi.chains import run_chains
from descent.papers.ssi.direct import Direct
from descent.papers.ssi.links import SIGNS, attention_against
from descent.papers.ssi.noise import Chain
from descent.papers.ssi.rows import plan_of, slices
from descent.papers.ssi.transition import attention_model, constants_of, teacher_of

BLOCK = 20  # steps whose tokens are drawn at once: 4,000 chains x 20 x 120 numbers are 77 MB


def run(job: Job, context: Context) -> Records:
    records = Records()
    for variant in job.variants:
        trace = _direct(variant, context) if variant.method == "direct" else _reduced(variant, context)
        for _, rows in slices([variant]):
            records.add_trace(variant, trace, rows)
    return records


def _starts(variant: Variant, device: torch.device):
    ones = torch.ones(len(variant.seeds), dtype=torch.float64)
    return (ones * variant.params["start_m"]).to(device), (ones * variant.params["start_e"]).to(device)


def _reduced(variant: Variant, context: Context):
    p, device = variant.params, context.device
    return run_chains(
        context, "reduced", attention_model([variant]), [Chain(seed, (), 2, p["dimension"]) for seed in variant.seeds],
        single.start(*_starts(variant, device)), constants_of([variant], device), plan_of([variant]),
        measure=single.overlaps, at=(p["at"], p["steps"]),
    ).trace  # fmt: skip


def _direct(variant: Variant, context: Context):
    p, device = variant.params, context.device
    teacher = teacher_of([variant], device)
    signs = torch.tensor(SIGNS, dtype=torch.float64).to(device)
    direct = Direct(attention_against(teacher), signs, **variant.own)
    shape = (2, p["dimension"])

    def draw(k: int, count: int) -> torch.Tensor:
        x = context.streams.normal("tokens", variant.seeds, (count, *shape), k, dtype=torch.float32)
        turned = torch.empty(count, len(variant.seeds), *shape, dtype=torch.float64)
        return turned.copy_(x.transpose(0, 1))

    _, trace = iterate(
        context, "direct", direct.start(*_starts(variant, device)), direct.method(draw), steps=p["steps"], block=BLOCK,
        measure=lambda state, _info: direct.overlaps(state), at=(p["at"], p["steps"]),
    )  # fmt: skip
    return trace
