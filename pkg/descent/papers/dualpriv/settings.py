"""Every setting of the room: its type, limits and meaning."""

from __future__ import annotations

from descent.core.settings import Setting

SETTINGS: dict[str, Setting] = {
    # the base
    "task": Setting(
        "content: digit and parity, rotary position shared by all visual tokens; spatial: digit and row, ordinary positions.",
        kind=str,
        default="content",
        choices=("content", "spatial"),
    ),
    "canvas": Setting(
        "Side of a scene in pixels, a multiple of the patch's 4.", kind=int, default=24, low=12, high=400
    ),
    "width": Setting("Width of encoder and decoder.", kind=int, default=48, low=8, high=4096),
    "heads": Setting("Attention heads.", kind=int, default=4, low=1, high=64),
    "decoder_layers": Setting("Layers of the decoder.", kind=int, default=2, low=1, high=64),
    "public_records": Setting(
        "Public scenes that the base is trained on.", kind=int, default=20000, low=16, high=10**7
    ),
    "base_steps": Setting("Steps of pre-training.", kind=int, low=1, high=10**6),
    "base_batch": Setting("Scenes a step of pre-training.", kind=int, default=96, low=1, high=10**5),
    "base_step_size": Setting("Largest learning rate of pre-training.", default=4e-3, low=0, high=1, open_low=True),
    # privacy
    "epsilon": Setting(
        "The privacy budget, as text (JSON has no infinity); inf trains without noise, clipping still on.",
        kind=str,
        choices=("0.5", "1", "2", "3", "4", "8", "10", "inf"),
    ),
    "delta": Setting(
        "Probability with which the guarantee may fail.", default=1e-5, low=0, high=1, open_low=True, open_high=True
    ),
    "clip_norm": Setting("C: largest norm of one record's gradient.", default=1.0, low=0, open_low=True),
    "slope_clip": Setting("DPZero's C: largest slope of one record along z.", default=4.0, low=0, open_low=True),
    "accountant": Setting(
        "Which accountant sets the noise: rdp (orders 2..255), opacus (its orders) or prv.",
        kind=str,
        default="rdp",
        choices=("rdp", "opacus", "prv"),
    ),
    "noise_multiplier": Setting(
        "sigma; left empty, the least that keeps epsilon. A run whose sigma does not keep it is refused.",
        default=None,
        low=0,
        optional=True,
    ),
    # training
    "steps": Setting("T: number of private steps.", kind=int, low=0, high=10**6),
    "batch": Setting("B = qN: expected size of a Poisson batch, records.", kind=int, low=1, high=10**6),
    "records": Setting("N: private records.", kind=int, low=2, high=10**7),
    "test_records": Setting("Scenes on which accuracy is measured.", kind=int, low=8, high=10**6),
    "curve": Setting(
        "Points along a run at which accuracy is measured, the last step included.",
        kind=int,
        default=1,
        low=1,
        high=100,
    ),
    "pool": Setting(
        "Where those scenes come from: test, or validation (private pool) for tuning.",
        kind=str,
        default="test",
        choices=("test", "validation"),
    ),
    "step_size": Setting("Learning rate of the private optimiser.", default=1.0, low=0, high=1000, open_low=True),
    "optimiser": Setting("What the noisy gradient is fed to.", kind=str, default="sgd", choices=("sgd", "adam")),
    "probe": Setting("mu: half the distance of DPZero's two losses.", default=1e-3, low=0, high=1, open_low=True),
    "micro_batch": Setting(
        "Samples whose activations are held at once; empty: the whole batch.",
        kind=int,
        default=None,
        low=1,
        optional=True,
    ),
    "rank": Setting("r: rank of the LoRA adapters.", kind=int, default=4, low=1, high=4096),
    "alpha": Setting("LoRA's alpha; the adapter is scaled by alpha / r.", default=8.0, low=0, open_low=True),
    # mechanism 1
    "dominant": Setting("K: patches kept for CLS's attention.", kind=int, default=8, low=0, high=10**4),
    "contextual": Setting("k: fused tokens.", kind=int, default=4, low=0, high=10**4),
    "fuse_noise": Setting(
        "Deviation of the noise on fused tokens: none, sigmaC/B or sigmaC.",
        kind=str,
        default="sigmaC/B",
        choices=("none", "sigmaC/B", "sigmaC"),
    ),
    # mechanism 2
    "keep": Setting(
        "Share of the parameter blocks whose update is applied.", default=0.8, low=0, high=1, open_low=True
    ),
    "block_score": Setting(
        "What the blocks are ranked by: rms or l2 norm of the noisy update, or chance (a control).",
        kind=str,
        default="rms",
        choices=("rms", "l2", "random"),
    ),
    # memory and time
    "model": Setting(
        "Whose step is counted: the study's small model or a LLaVA-1.5-7B-shaped one.",
        kind=str,
        default="small",
        choices=("small", "llava-7b"),
    ),
    "micro_batch_size": Setting("Samples of the step that is counted or timed.", kind=int, low=1, high=10**5),
    "counted": Setting("What a 7B-shaped count includes: a row of footprint.COUNTED.", kind=str, default="plain"),
    "measured": Setting("Read the peak from a CUDA device instead of counting.", kind=bool, default=False),
    # audits
    "guesses": Setting("r: guesses of the audit, fixed in advance, even.", kind=int, default=100, low=2, high=10**6),
    "trials": Setting(
        "Trials of a game: of the mask game in each of its two worlds, of the membership game in both together.",
        kind=int,
        default=20000,
        low=10,
        high=10**7,
    ),
    "noise": Setting("sigma of the update whose blocks the mask game chooses; clip norm 1.", default=0.0, low=0),
    "noise_share": Setting(
        "Part of the accounted noise that is really added; below 1 the run leaks on purpose, for an audit to find.",
        default=1.0,
        low=0,
        high=1,
    ),
    "threshold": Setting(
        "Log-likelihood ratio above which the membership game's attacker guesses `in`, fixed beforehand.",
        default=1.0,
        low=-100,
        high=100,
    ),
}
