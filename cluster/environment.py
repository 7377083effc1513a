"""Variables that reach a job in its package: what stands in a job's description, every client of the jobs API can read.

Runs on the cluster. `python -m cluster.environment <command>` is the job's driver; Ray calls ``load`` in each of its workers.
"""

import json
import os
import sys
from pathlib import Path

FILE = "environment.json"
"""In the root of the package, readable by its owner alone."""
WORKER_HOOK = f"{__package__}.environment.load"


def load() -> None:
    """Add the variables of the package to this process."""
    os.environ.update(json.loads((Path(__file__).parents[1] / FILE).read_text()))


if __name__ == "__main__":
    load()
    os.execvp(sys.argv[1], sys.argv[1:])
