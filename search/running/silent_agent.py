"""A program in the place of Ray's dashboard agent on a machine of its own, where nobody asks that one anything.

Ray's takes a second of CPU and 130 MB for each node; without any, the raylet ends. It says what Ray's own says where its
services are not installed: port -1.
"""

import os
import sys
import time
from pathlib import Path

SERVICES = ("metrics_agent_port", "metrics_export_port", "dashboard_agent_listen_port")
LOOK_S = 1


def main() -> None:
    """Tell the raylet that started this process, and end with it."""
    given = dict(argument.removeprefix("--").split("=", 1) for argument in sys.argv if "=" in argument)
    for service in SERVICES:
        told = Path(given["session-dir"], f"{service}_{given['node-id']}")
        told.with_suffix(".new").write_text("-1", encoding="ascii")
        told.with_suffix(".new").rename(told)
    while os.getppid() == int(os.environ["RAY_RAYLET_PID"]):
        time.sleep(LOOK_S)


if __name__ == "__main__":
    main()
