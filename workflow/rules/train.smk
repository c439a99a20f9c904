# One job = one block of variants of one experiment. What it depends on is declared: its resolved settings and dataset
# hashes (params.job), the source it runs (params.source), and the jobs it reads (input).
CPU_JOBS = STUDY.pattern(STUDY.jobs("train", "analyse", gpu=False))
GPU_JOBS = STUDY.pattern(STUDY.jobs("train", "analyse", gpu=True))


rule train_cpu:
    input:
        needs=lambda wc: STUDY.needs(wc.job),
        data=lambda wc: [ancient(f"{AT}{path}") for path in STUDY.data_files(wc.job)],
    output:
        **job_files(f"{RESULTS}/{{job}}"),
    log:
        f"{RESULTS}/logs/{{job}}.log",
    wildcard_constraints:
        job=CPU_JOBS,
    priority: lambda wc: STUDY.priority(wc.job)
    threads: lambda wc: STUDY.job(wc.job).threads
    params:
        job=lambda wc: STUDY.job(wc.job).to_json(),
        source=lambda wc: STUDY.source(wc.job),
        results=RESULTS,
    script:
        "../scripts/train.py"


use rule train_cpu as train_gpu with:
    wildcard_constraints:
        job=GPU_JOBS,
    resources:
        gpu=1,


use rule train_cpu as select with:
    output:
        **job_files(f"{RESULTS}/{{job}}"),
        chosen=f"{RESULTS}/{{job}}/chosen.json",
    wildcard_constraints:
        job=STUDY.pattern(STUDY.jobs("select")),


# Measured time: all cores reserved, stored with the reports, run only when asked for (--config bench=true).
use rule train_cpu as bench with:
    output:
        **job_files(f"{STUDY.bench}/{{job}}"),
    log:
        f"{RESULTS}/logs/bench/{{job}}.log",
    wildcard_constraints:
        job=STUDY.pattern(STUDY.jobs("bench")),
    threads: workflow.cores
