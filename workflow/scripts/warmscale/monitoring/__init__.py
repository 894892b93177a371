"""How far the runs of a study are, from the files that they leave. Standard library only: it is asked for often."""
