"""Needs what the master left for the batch job of a run or a measurement; gives its rule what it asks of the study, of
this one alone."""

RESULTS, INDEX, TRAINER = TASK.results, TASK.index, TASK.trainer
STATE = f"{RESULTS}/state"
ON_SITE = ALONE = PLACES = {TASK.run_id: TASK}
PRIORITY = 0


def counted_nodes(places):
    """None: the master has counted them."""
    return {}


@with_known_signature
def content_of_run(wildcards):
    """Content of the run, the very text that the master has."""
    return TASK.content


content_of_measurement = content_of_run


@with_known_signature
def index_if_read(wildcards):
    """Index of the data set, where the measurement reads it."""
    return [INDEX] if TASK.reads_data else []


if TASK.is_measured:

    include: "throughput.smk"

else:

    include: "train.smk"
