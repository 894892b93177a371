"""Needs the study and the name of its index; makes what rule `train` asks of them."""

from warmscale.study.config import WHERE_FIELDS

INDEX = str(rules.index.output.index)
SETTINGS = json.dumps(STUDY.config.placement.model_dump(exclude=WHERE_FIELDS))
TRAINER = shlex.join(["--index", INDEX, "--root", DATA.place, "--settings", SETTINGS])


@with_known_signature
def content_of_run(wildcards):
    """Content of a run as canonical JSON: a run is trained again when it changes, and only then."""
    return RUNS[wildcards.run].content_json()


def pack_first():
    """Pack the data set of a study that has its index already, from an earlier call that trained from the tree."""
    if DATA.pack and Path(INDEX).exists() and not Path(f"{DATA.pack}/pack.json").exists():
        words = [*shlex.split(program("index_data")), *shlex.split(PLACE_OF_DATA)]
        words += ["--declared", json.dumps(DATA.declared_sizes), "--index", os.devnull]
        if subprocess.run(words).returncode:
            MASTER.end()
            sys.exit(f"dataset.pack: {DATA.pack} was not made")
