"""Needs what the master left for the batch job of a run; gives rule `train` what it asks of the study, of this run alone."""

RESULTS, INDEX, TRAINER = TASK.results, TASK.index, TASK.trainer
ON_SITE = PLACES = {TASK.run_id: TASK}


@with_known_signature
def content_of_run(wildcards):
    """Content of the run, the very text that the master has."""
    return TASK.content
