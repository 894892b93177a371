"""An `apptainer` without containers: reads the words of `apptainer exec`, refuses wrong ones, becomes the command."""

from __future__ import annotations

import json
import sys
from pathlib import Path

STUB = """#!{python}
import json, os, sys
words = sys.argv[1:]
if not words or words.pop(0) != "exec":
    sys.exit("FATAL: only exec is known here")
told = {{"nv": False, "bind": [], "pwd": None}}
while words and words[0].startswith("-"):
    option = words.pop(0)
    if option == "--nv":
        told["nv"] = True
    elif option in ("--bind", "--pwd"):
        value = words.pop(0)
        if not os.path.exists(value.partition(":")[0]):
            sys.exit(f"FATAL: {{option}}: {{value}} does not exist")
        told["pwd" if option == "--pwd" else "bind"] = value if option == "--pwd" else [*told["bind"], value]
    else:
        sys.exit(f"FATAL: unknown flag: {{option}}")
image, *command = words
if not os.path.isfile(image):
    sys.exit(f"FATAL: could not open image {{image}}: no such file or directory")
with open({calls!r}, "a") as calls:
    calls.write(json.dumps({{**told, "image": image, "command": command}}) + "\\n")
os.environ["APPTAINER_CONTAINER"] = image
os.chdir(told["pwd"] or "/")
os.execvp(command[0], command)
"""


class ApptainerStub:
    """A folder for the PATH, whose `python3` is the image's."""

    def __init__(self, folder: Path):
        self.bin, self._calls = folder / "bin", folder / "calls.jsonl"
        self.bin.mkdir(parents=True)
        self._calls.touch()
        program = self.bin / "apptainer"
        program.write_text(STUB.format(python=sys.executable, calls=str(self._calls)))
        program.chmod(0o755)

    def calls(self) -> list[dict]:
        """What each `apptainer exec` was told, in order."""
        return [json.loads(line) for line in self._calls.read_text().splitlines()]
