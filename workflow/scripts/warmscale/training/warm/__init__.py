"""Runs that start warm: forked from a process that has imported what every rank imports, one process a Snakemake.

`start` begins that process beside Snakemake, `server` is its life, `client` hands a run over to it, `runner` is the
fork that carries the run out as train_run.py would, `ranks` are its ranks, forked in turn; `surroundings` and `origin`
tell whether a fork would be what a cold start is. Where anything is in the way, a run starts cold.
"""
