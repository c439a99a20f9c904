# Records -> verdicts -> a page a paper -> the front page. Nothing here trains.


rule judge:
    input:
        lambda wc: STUDY.records_of(wc.paper),
        lambda wc: STUDY.records_of(wc.paper, bench=True),
    output:
        f"{REPORTS}/{{paper}}/verdicts.json",
    log:
        f"{RESULTS}/logs/judge/{{paper}}.log",
    params:
        judging=lambda wc: STUDY.judging(wc.paper),
    script:
        "../scripts/judge.py"


rule page:
    input:
        lambda wc: STUDY.records_of(wc.paper),
        verdicts=f"{REPORTS}/{{paper}}/verdicts.json",
    output:
        page=f"{REPORTS}/{{paper}}/index.html",
        figures=report(
            directory(f"{REPORTS}/{{paper}}/figures"),
            patterns=["{figure}.svg"],
            caption="../report/figure.rst",
            category="{paper}",
            labels=lambda wc: {"figure": wc.figure, "shows": STUDY.shows(wc.paper, wc.figure)},
        ),
    log:
        f"{RESULTS}/logs/page/{{paper}}.log",
    params:
        writing=lambda wc: STUDY.writing(wc.paper),
    script:
        "../scripts/page.py"


rule front:
    input:
        expand(f"{REPORTS}/{{paper}}/verdicts.json", paper=STUDY.papers),
        expand(f"{REPORTS}/{{paper}}/index.html", paper=STUDY.papers),
    output:
        page=f"{REPORTS}/index.html",
        verdicts=report(f"{REPORTS}/verdicts.csv", caption="../report/verdicts.rst", category="verdicts"),
        picture=f"{REPORTS}/verdicts.svg",
        checks=report(f"{REPORTS}/checks.csv", caption="../report/checks.rst", category="verdicts"),
    log:
        f"{RESULTS}/logs/front.log",
    params:
        front=STUDY.front(),
    script:
        "../scripts/front.py"
