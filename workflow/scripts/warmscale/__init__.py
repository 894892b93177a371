"""Large-mini-batch training studies: from a grid in YAML to a report with verdicts."""
