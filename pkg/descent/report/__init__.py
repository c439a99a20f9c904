"""The report: verdicts, figures and pages made from what a run left on disk. Never imported by a training job."""
