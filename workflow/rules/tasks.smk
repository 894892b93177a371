"""Needs the study and the name of its index; makes what rules `train` and `measure` ask of them."""

from warmscale.study.config import WHERE_FIELDS

INDEX = str(rules.index.output.index)
SETTINGS = json.dumps(STUDY.config.placement.model_dump(exclude=WHERE_FIELDS))
TRAINER = shlex.join(["--index", INDEX, "--root", DATA.place, "--settings", SETTINGS])


@with_known_signature
def content_of_run(wildcards):
    """Content of a run as canonical JSON: a run is trained again when it changes, and only then."""
    return RUNS[wildcards.run].content_json()


@with_known_signature
def planned_priority(wildcards):
    """Place of a run in the plan, counted from its end; 0 of one that is done."""
    return PLAN.priorities.get(wildcards.run, 0)


PRIORITY = planned_priority if PLAN else 0


# what the plan of a study was packed under is kept for what its scheduler knows nothing of
NODES_AT_A_TIME = PLAN and STUDY.config.budget and STUDY.config.budget.concurrent_nodes
if NODES_AT_A_TIME:
    workflow.register_resource("study_nodes", NODES_AT_A_TIME)


def counted_nodes(places):
    """Nodes of the jobs of a rule, where only so many may be in use; only Snakemake counts them."""
    return {"study_nodes": of_place(places, lambda place: place.where.nodes)} if NODES_AT_A_TIME else {}


@with_known_signature
def content_of_measurement(wildcards):
    """Likewise of a measurement."""
    return MEASUREMENTS[wildcards.measurement].content_json()


@with_known_signature
def index_if_read(wildcards):
    """Index of the data set, where a measurement reads it."""
    return [INDEX] if MEASUREMENTS[wildcards.measurement].reads_data else []


def data_first():
    """What a study that has its index already lacks of its data: a pack, if an earlier call trained from the tree, and
    digits, if its results are from another checkout."""
    if not Path(INDEX).exists():
        return
    if DATA.name == "digits" and not Path(rules.digits.output.done).exists():
        make_first("dataset.root", DATA.root, "write_digits", *shlex.split(PLACE_OF_DIGITS))
    if DATA.pack and not Path(f"{DATA.pack}/pack.json").exists():
        declared = ("--declared", json.dumps(DATA.declared_sizes), "--index", os.devnull)
        make_first("dataset.pack", DATA.pack, "index_data", *shlex.split(PLACE_OF_DATA), *declared)


def make_first(key, path, name, *words):
    """Run one of our programs, which makes what a key of the config names; ends the call where it fails."""
    if subprocess.run([*shlex.split(program(name)), *words]).returncode:
        MASTER.end()
        sys.exit(f"{key}: {path} was not made")


if RUNS:

    include: "train.smk"


if MEASUREMENTS:

    include: "throughput.smk"
