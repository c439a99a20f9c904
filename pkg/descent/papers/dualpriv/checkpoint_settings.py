"""Settings of the runs on a real checkpoint, apart from the others: no job of the study depends on them."""

from __future__ import annotations

from descent.core.settings import Setting

CHECKPOINT_SETTINGS: dict[str, Setting] = {
    "checkpoint_dir": Setting(
        "Folder of a LLaVA-1.5 checkpoint as transformers saves it (LlavaForConditionalGeneration and its processor).",
        kind=str,
        default="",
    ),
    "data_dir": Setting("Folder of ScienceQA: problems.json and images/<split>/<id>/image.png.", kind=str, default=""),
    "most_records": Setting(
        "Most private records taken; empty takes all.", kind=int, default=None, low=1, high=10**7, optional=True
    ),
}
