"""How often a claim would be wrong: simulated records of known truth, judged as any paper's are.

`python -m descent.claims.error_rates > docs/error-rates.md` writes the page; tests hold what must hold. `laws` draws
records, `simulated` judges them, `cases` lists what is simulated, `page` writes it down.
"""
