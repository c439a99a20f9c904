"""What the room declares: metrics, methods, experiments. Labels; no training module imports this."""

from __future__ import annotations

from descent.core.declare import ExperimentCard, MethodCard, Metric, Room
from descent.papers.dualpriv.checkpoint_settings import CHECKPOINT_SETTINGS
from descent.papers.dualpriv.settings import SETTINGS

_MODULE = "descent.papers.dualpriv"
_TOKENS = ("dominant", "contextual", "fuse_noise")
_FIRST = ("clip_norm", "micro_batch")
_ZEROTH = ("slope_clip", "probe")

METRICS = {
    # accuracy
    "accuracy": Metric(
        "",
        "Share of test scenes answered with the right code word, out of the whole vocabulary.",
        "higher",
        range=(0, 1),
    ),
    "digit_accuracy": Metric("", "The same, on questions for the digit.", "higher", range=(0, 1)),
    "parity_accuracy": Metric("", "The same, on questions for the parity.", "higher", range=(0, 1)),
    "row_accuracy": Metric("", "The same, on questions for the row (stress case).", "higher", range=(0, 1)),
    "loss": Metric("nats", "Mean cross-entropy of the answer on test scenes.", "lower"),
    # privacy ledger
    "sampling_rate": Metric("", "q: probability with which a record enters a batch."),
    "noisy_steps": Metric("steps", "T: noisy steps that were accounted."),
    "noise_multiplier": Metric("", "sigma: noise on the sum over the clip norm."),
    "accountant": Metric("", "The accountant that set the noise: 0 rdp, 1 opacus, 2 prv, 3 gaussian."),
    "epsilon_spent": Metric("", "epsilon by the accountant that set the noise.", "lower"),
    "epsilon_numerical": Metric("", "epsilon of the same run by the numerical accountant (upper value).", "lower"),
    "delta": Metric("", "delta of the guarantee."),
    # audits
    "nominal_epsilon": Metric("", "epsilon that the audited run claims."),
    "epsilon_lower_bound": Metric("", "epsilon that the audit proves to be exceeded or met, at 95 %."),
    "epsilon_cap": Metric("", "The most that the audit could have shown, every guess being right."),
    "audit_correct": Metric("guesses", "Right guesses of the one-run audit.", resolution=1),
    "audit_guesses": Metric("guesses", "Guesses of the one-run audit, fixed in advance.", resolution=1),
    "audit_canaries": Metric("records", "Canaries of the one-run audit.", resolution=1),
    "mia_auc": Metric(
        "", "Area under the ROC curve of loss-threshold membership inference; 0.5 is chance.", range=(0, 1)
    ),
    "mia_auc_low": Metric("", "Lower end of its 95 % interval over records (DeLong).", range=(0, 1)),
    "mia_auc_high": Metric("", "Upper end of its 95 % interval over records (DeLong).", range=(0, 1)),
    "guessed_in_present": Metric("trials", "Membership game: guessed `in`, the record could be drawn.", resolution=1),
    "guessed_in_absent": Metric("trials", "Membership game: guessed `in`, the record was not there.", resolution=1),
    "present_trials": Metric(
        "trials", "Trials of the membership game in which the record could be drawn.", resolution=1
    ),
    "absent_trials": Metric("trials", "Trials of the membership game in which the record was not there.", resolution=1),
    "kept_with_record": Metric("trials", "Mask game: block 0 kept, the record present.", resolution=1),
    "kept_without_record": Metric("trials", "Mask game: block 0 kept, the record absent.", resolution=1),
    "game_trials": Metric("trials", "Trials of the mask game in each world.", resolution=1),
    # memory
    "peak_memory": Metric("MB", "Largest sum of live tensors during one step, in 10^6 bytes.", "lower", log=True),
    "held_memory": Metric(
        "MB", "Tensors there before the step: weights, adapter, the micro-batch's inputs.", "lower", log=True
    ),
    # time
    "step_cpu_seconds": Metric("s", "Process time of one step.", "lower", log=True),
    "step_wall_seconds": Metric("s", "Wall time of one step.", "lower", log=True),
    # the base
    "public_accuracy_full": Metric("", "The base on public questions, all visual tokens.", "higher", range=(0, 1)),
    "public_accuracy_pruned": Metric(
        "", "The base on public questions, tokens pruned by CLS's attention.", "higher", range=(0, 1)
    ),
    "public_accuracy_random": Metric(
        "", "The base on public questions, as many tokens chosen at random.", "higher", range=(0, 1)
    ),
    "public_accuracy_cls": Metric(
        "", "The CLS head's digit accuracy on scenes of the test pool.", "higher", range=(0, 1)
    ),
    "digit_recall_cls": Metric(
        "", "Share of the digit's four patches among those that CLS attends to most.", "higher", range=(0, 1)
    ),
    "digit_recall_random": Metric("", "The same for as many random patches.", "higher", range=(0, 1)),
    **{
        f"public_{question}_accuracy_{way}": Metric(
            "", f"The base on public {question} questions, {what}.", "higher", range=(0, 1)
        )
        for question in ("digit", "parity", "row")
        for way, what in (("full", "all tokens"), ("pruned", "pruned tokens"), ("random", "random tokens"))
    },
}

METHODS = {
    "dual": MethodCard(
        "Dual-Priv",
        "headline",
        "DP-SGD on pruned visual tokens (mechanism 1), of whose noisy update only the largest blocks are applied (mechanism 2).",
        settings=(*_FIRST, *_TOKENS, "keep", "step_size"), builder="methods:dual",
    ),
    "dpsgd": MethodCard(
        "DP-SGD", "baseline", "Per-sample clipping over all blocks, Gaussian noise, all visual tokens (rules of Opacus).",
        "code", (*_FIRST, "step_size"), builder="methods:dpsgd",
    ),
    "dpzo": MethodCard(
        "DPZero", "baseline", "Zeroth order: one clipped loss difference a sample, one scalar of noise, all visual tokens.",
        "code", (*_ZEROTH, "step_size"), builder="methods:dpzo",
    ),
    "m1": MethodCard("M1 only", "control", "Dual-Priv without block pruning.", "derived", (*_FIRST, *_TOKENS, "step_size"), builder="methods:m1"),
    "m2": MethodCard("M2 only", "control", "Dual-Priv without token pruning.", "derived", (*_FIRST, "keep", "step_size"), builder="methods:m2"),
    "dpzo_m1": MethodCard(
        "DPZero + M1", "control", "DPZero on pruned tokens: is the memory saved by the tokens or by the optimiser?",
        "derived", (*_ZEROTH, *_TOKENS, "step_size"), builder="methods:dpzo_m1",
    ),
    "random_blocks": MethodCard(
        "random blocks", "control", "Dual-Priv, as many blocks kept by chance: does the ranking matter?", "derived",
        (*_FIRST, *_TOKENS, "keep", "step_size"), builder="methods:random_blocks",
    ),
    "random_tokens": MethodCard(
        "random tokens", "control", "Dual-Priv, as many patches kept by chance: does CLS's attention matter?", "derived",
        (*_FIRST, *_TOKENS, "keep", "step_size"), builder="methods:random_tokens",
    ),
    "no_fusion": MethodCard(
        "no fusion", "control", "Dual-Priv without the fused tokens.", "derived",
        (*_FIRST, *_TOKENS, "keep", "step_size"), builder="methods:no_fusion",
    ),
    "l2_blocks": MethodCard(
        "l2 score", "control", "Dual-Priv, blocks ranked by norm, not by norm over root size.", "derived",
        (*_FIRST, *_TOKENS, "keep", "step_size"), builder="methods:l2_blocks",
    ),
    "low_rank": MethodCard(
        "rank 3", "control", "M1 with LoRA rank 3, about Dual-Priv's update size without choosing blocks.", "review",
        (*_FIRST, *_TOKENS, "step_size"), builder="methods:m1",
    ),
    "dpadam": MethodCard("DP-Adam", "baseline", "DP-SGD's noisy gradient fed to Adam.", "derived", (*_FIRST, "step_size"), builder="methods:dpadam"),
    "dual_adam": MethodCard(
        "Dual-Priv, Adam", "control", "Dual-Priv's pruned update fed to Adam.", "derived",
        (*_FIRST, *_TOKENS, "keep", "step_size"), builder="methods:dual_adam",
    ),
    "noisy_mask": MethodCard(
        "mask after noise", "control", "The mask game with blocks chosen by the noisy update: honest.", "derived"
    ),
    "clean_mask": MethodCard(
        "mask before noise", "control", "The mask game with blocks chosen by the clean update: must be caught.", "derived"
    ),
    "zero_shot": MethodCard("zero-shot", "reference", "The frozen base, untrained.", "derived"),
    "base": MethodCard("base", "reference", "The small LLaVA, pre-trained on public scenes.", "derived"),
}  # fmt: skip

_PRIVATE = ("epsilon", "delta", "accountant", "noise_multiplier", "steps", "batch", "records", "rank", "alpha")
_RUN = (*_PRIVATE, "test_records", "pool", "task")

_COUNT = ("micro_batch_size", "model", "counted", "measured", "rank")

EXPERIMENTS = {
    "pretrain": ExperimentCard(
        f"{_MODULE}.pretrain",
        (
            "task", "canvas", "width", "heads", "decoder_layers", "public_records", "base_steps", "base_batch",
            "base_step_size", "test_records", "dominant", "contextual",
        ),
    ),
    "tune": ExperimentCard(f"{_MODULE}.accuracy", (*_RUN, "curve")),
    "accuracy": ExperimentCard(f"{_MODULE}.accuracy", (*_RUN, "curve")),
    "large_step": ExperimentCard(f"{_MODULE}.accuracy", (*_RUN, "curve")),
    "long_zeroth": ExperimentCard(f"{_MODULE}.accuracy", (*_RUN, "curve")),
    "ablation": ExperimentCard(f"{_MODULE}.accuracy", (*_RUN, "curve")),
    "keep": ExperimentCard(f"{_MODULE}.accuracy", (*_RUN, "curve")),
    "tokens": ExperimentCard(f"{_MODULE}.accuracy", (*_RUN, "curve")),
    "stress": ExperimentCard(f"{_MODULE}.accuracy", (*_RUN, "curve")),
    "adam": ExperimentCard(f"{_MODULE}.accuracy", (*_RUN, "curve")),
    "audit": ExperimentCard(f"{_MODULE}.auditing", (*_PRIVATE, "guesses", "noise_share")),
    "game": ExperimentCard(f"{_MODULE}.game", (*_PRIVATE, "trials", "threshold", "noise_share")),
    "mechanism": ExperimentCard(f"{_MODULE}.mask_game", ("noise", "delta", "trials")),
    "footprint": ExperimentCard(f"{_MODULE}.footprint", _COUNT),
    "footprint_7b": ExperimentCard(f"{_MODULE}.footprint", _COUNT),
    "footprint_cuda": ExperimentCard(f"{_MODULE}.footprint", _COUNT),
    "llava": ExperimentCard(
        f"{_MODULE}.checkpoint_accuracy",
        (
            "epsilon", "delta", "accountant", "noise_multiplier", "steps", "batch", "test_records", "rank", "alpha",
            *CHECKPOINT_SETTINGS,
        ),
    ),
    "cost": ExperimentCard(f"{_MODULE}.cost", ("micro_batch_size", "model", "counted", "rank", "alpha")),
    "cost_7b": ExperimentCard(f"{_MODULE}.cost", ("micro_batch_size", "model", "counted", "rank", "alpha")),
}  # fmt: skip

# `optimiser` and `block_score` are arguments of the library's `dpsgd`; in the study the method decides them.
LIBRARY_ONLY = ("optimiser", "block_score")
_STUDY = {name: setting for name, setting in SETTINGS.items() if name not in LIBRARY_ONLY}
ROOM = Room(METRICS, METHODS, EXPERIMENTS, _STUDY | CHECKPOINT_SETTINGS)
