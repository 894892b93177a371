"""A double of IBM Spectrum LSF 10.1 for tests: its commands on the PATH, jobs as processes of this machine.

`Cluster` (cluster.py) makes one in a folder, injects faults and reads back what happened. The commands are small
scripts in that folder; all state is in it, under one lock, so that any process may be killed at any time. `bsub` is
enough: no daemon runs. Whoever frees slots dispatches the next jobs, and every job has a supervising process in its own
session. Standard library only.
"""
