# The mirror in MLflow: after the paper's page, from the records. It may fail (a server that is down) without harm.


rule track:
    input:
        lambda wc: STUDY.records_of(wc.paper),
        page=f"{REPORTS}/{{paper}}/index.html",
    output:
        f"{RESULTS}/mlflow/{{paper}}.json",
    log:
        f"{RESULTS}/logs/mlflow/{{paper}}.log",
    resources:
        mlflow=1,
    params:
        **STUDY.tracking(),
    script:
        "../scripts/track.py"
