"""Estimates: one number, one interval, from one number a seed, for many simulated worlds at once.

`base` holds what all kinds share and the registry `KINDS`; `kinds` imports every module that fills it: `means` (t,
jackknife, tolerance), `counting` (median, quantile, bench, share, sign), `rank` (wilcoxon, ks), `audits` (audit, exact).
"""
