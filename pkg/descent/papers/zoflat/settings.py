"""Every setting of the room: its type, limits, default and meaning."""

from __future__ import annotations

from descent.core.settings import Setting

SETTINGS: dict[str, Setting] = {
    # Methods
    "step_size": Setting("The step size eta.", low=0, high=10, open_low=True),
    "smoothing": Setting("The smoothing parameter lambda of the two-point estimate.", low=0, high=10, open_low=True),
    "radius": Setting("SAM's rho, the length of its step uphill.", low=0, high=10, open_low=True),
    # Every experiment
    "steps": Setting("Number of steps T.", int, low=1, high=10_000_000),
    "block": Setting("Steps whose noise is drawn and handed over at once.", int, 500, low=1, high=100_000),
    "points": Setting("Number of steps, evenly spaced in the logarithm, at which metrics are taken.", int, 60, low=2, high=10_000),
    # The test function
    "half_dimension": Setting("n: the test function lives on R^n x R^n.", int, 100, low=4, high=1_000_000),
    "reference_step": Setting(
        "A step at which the trace is taken too: its change is counted from here, when gradient descent has settled.",
        int, 1000, low=1, high=10_000_000,
    ),
    "tail": Setting("The loss is recorded at every one of this many last steps.", int, 1000, low=1, high=100_000),
    # Over-parameterised linear models
    "model": Setting("svm: squared hinge, or logistic regression.", str, choices=("svm", "logistic")),
    "data": Setting("The dataset.", str),
    "features": Setting("D: random features that the data is lifted to.", int, 10_000, low=1, high=1_000_000),
    "rows": Setting("Only so many training and test rows, evenly spaced; 0: all.", int, 0, low=0, high=10_000_000),
    "path": Setting(
        "How directions reach the data: cholesky (p normals), lift (D normals through the lift itself), explicit (all D weights, "
        "nothing reduced); auto: cholesky unless D is below the number of raw features.",
        str, "auto", choices=("auto", "cholesky", "lift", "explicit"),
    ),
    "layout": Setting(
        "Of the raw features: sparse, dense, or auto (sparse on CPU and CUDA).",
        str, "auto", choices=("auto", "sparse", "dense"),
    ),
    "dense_until": Setting("Metrics are taken at every step up to this one.", int, 0, low=0, high=10_000),
    "step_factor": Setting("Multiplies the step size.", default=1.0, low=0, high=100, open_low=True),
    "smoothing_factor": Setting("Multiplies the smoothing.", default=1.0, low=0, high=100, open_low=True),
    "final_points": Setting("Evenly spaced steps in the last 5 % at which metrics are taken.", int, 11, low=2, high=1000),
    # Language models
    "encoder": Setting(
        "minilm: the last layer of all-MiniLM-L6-v2; roberta: all of a local RoBERTa; tiny: a random encoder, for the smoke scale.",
        str, choices=("tiny", "minilm", "roberta"),
    ),
    "task": Setting("The few-shot task.", str, "snippets", choices=("snippets", "sst2", "sst5", "trec")),
    "shots": Setting("K: training texts a class.", int, low=1, high=10_000),
    "tests": Setting("Test texts (snippets).", int, 300, low=1, high=10_000),
    "tokens": Setting("The longest text in tokens.", int, low=4, high=512),
    "data_seed": Setting("The seed of the few-shot sample of the tasks that are not drawn a seed anew.", int, 42, low=0, high=2**32 - 1),
    "text_dir": Setting("The folder `original` of LM-BFF's datasets.", str, ""),
    "checkpoint_dir": Setting("A roberta-large folder: config.json, vocab.json, merges.txt, model.safetensors.", str, ""),
    "batch": Setting("Texts a step; 0: the whole training set.", int, 0, low=0, high=100_000),
    "micro_batch": Setting("Prompts that one forward pass of RoBERTa holds.", int, 32, low=1, high=100_000),
    "regenerate": Setting("ZO draws its direction anew from its seed instead of keeping it.", bool, False),
    "clip_norm": Setting("Longest gradient of gradient descent, longer ones are scaled down; 0: no limit.", default=0.0, low=0, high=1e6),
    "measured": Setting("The steps at which metrics are taken: numbers and first:last:distance, separated by commas.", str),
    "probes": Setting("n_h: Rademacher probes of Hutchinson's estimate.", int, 8, low=2, high=10_000),
    "first_probes": Setting("Probes at step 0.", int, 64, low=2, high=10_000),
    "directions": Setting("Directions of the estimates by differences of losses.", int, 10, low=2, high=10_000),
    "delta": Setting("Length of these differences.", default=1e-4, low=0, high=1, open_low=True),
}  # fmt: skip

PUBLIC: dict[str, Setting] = {
    "lr": Setting("The step size eta of a parameter group.", low=0, high=10, open_low=True),
    "smoothing": SETTINGS["smoothing"],
    "radius": SETTINGS["radius"],
    "seed": Setting("Of the directions or probes.", int, 0, low=0, high=2**63 - 1),
    "probes": Setting("Rademacher probes of Hutchinson's estimate.", int, 64, low=2, high=1_000_000),
}
"""Settings of public.py."""
