"""State folders of runs as training leaves them, without training."""

import json
import os
import time
from pathlib import Path

from warmscale.records import EPOCH_COLUMNS

EPOCHS, STEPS = 10, 100


class RunFolder:
    """One run of a study under `results`; every method returns it, so that a run is written as a sentence."""

    def __init__(self, study: Path, run_id: str):
        self.study, self.run_id, self.state = study, run_id, study / "state" / run_id
        (self.state / "logs").mkdir(parents=True, exist_ok=True)
        self.write("content.json", {"epochs": EPOCHS})

    def write(self, name, value):
        path = self.state / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(value if isinstance(value, str) else json.dumps(value))
        return self

    def log(self, name, *lines):
        return self.write(f"logs/{name}.log", "".join(f"{line}\n" for line in lines))

    def submitted(self, job="7", scheduler="lsf", ago_sec=30.0):
        job = {"scheduler": scheduler, "job_id": job, "submitted": time.time() - ago_sec}
        return self.write("job.json", {**job, "log": str(self.state / "logs/job.log")})

    def going(self, *, number=1, ago_sec=1000.0, steps_before=0, **more):
        started = {"number": number, "started": time.time() - ago_sec, "host": "node1", "steps_before": steps_before}
        return self.write("attempt.json", started | more)

    def beating(self, ago_sec=1.0):
        self.write("lease/000001.json", {"host": "node1", "pid": 1})
        moment = time.time() - ago_sec
        os.utime(self.state / "lease/000001.json", (moment, moment))
        return self

    def at_step(self, step, ago_sec=0.0, **more):
        told = {"state": "running", "step": step, "total_steps": STEPS, "epoch": step * EPOCHS // STEPS + 1}
        return self.write("progress.json", told | {"time": time.time() - ago_sec} | more)

    def ended(self, state, *, ago_sec=10.0, took_sec=3600.0, **more):
        path = self.state / "attempts.jsonl"
        number = len(path.read_text().splitlines()) + 1 if path.exists() else 1
        ended = time.time() - ago_sec
        line = {"number": number, "started": ended - took_sec, "ended": ended, "state": state, "host": "node1"} | more
        with path.open("a") as file:
            file.write(json.dumps(line) + "\n")
        (self.state / "attempt.json").unlink(missing_ok=True)
        return self

    def rows(self, *top1):
        rows = [
            {"run_id": self.run_id, "epoch": number, "top1": value, "images_per_sec": 50.0 * number}
            for number, value in enumerate(top1, 1)
        ]
        lines = [",".join(str(row.get(column, 1)) for column in EPOCH_COLUMNS) for row in rows]
        return self.write("epochs.csv", "\n".join([",".join(EPOCH_COLUMNS), *lines]) + "\n")

    def outcome(self, state="finished", epochs_done=EPOCHS):
        self.write("outcome.json", {"state": state, "epochs_done": epochs_done, "steps_done": STEPS})
        return self.ended(state)

    def published(self, **record):
        path = self.study / "runs" / self.run_id / "run.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"run_id": self.run_id, **record}))
        return self
