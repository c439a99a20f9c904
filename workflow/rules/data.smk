# The embedded datasets come from the repository's own DVC remote, in one call of dvc.
# Jobs know datasets by their hashes (params), so a fresh time stamp of a data file retrains nothing. A file that is there
# is checked by content before anything is planned, so this rule has work only where one is missing.


rule data:
    input:
        ancient(f"{AT}data.dvc"),
    output:
        [f"{AT}{path}" for path in STUDY.data_files()],
    log:
        f"{RESULTS}/logs/data.log",
    script:
        "../scripts/data.py"
