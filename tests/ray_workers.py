"""Ray's setup_worker.py without its import of Ray, which every worker would pay a second time when it has become one.

A raylet of the tests runs this file for each worker that it starts (``use``).
"""

import argparse
import json
import os
import sys


def use() -> None:
    """Whatever Ray this process starts, its workers begin here."""
    from ray._private import ray_constants

    ray_constants.SETUP_WORKER_FILENAME = __file__


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--serialized-runtime-env-context", type=json.loads, default={})
    parser.add_argument("--language")
    given, worker = parser.parse_known_args()
    variables = given.serialized_runtime_env_context.get("env_vars") or {}
    os.environ |= {name: os.path.expandvars(value) for name, value in variables.items()}
    os.execv(sys.executable, [sys.executable, *worker])


if __name__ == "__main__":
    main()
