"""Every kernel, compiled for an H100 at the sizes that production runs: this needs no GPU."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton")

FOLDER = Path(__file__).parents[1] / "benchmarks"
GIVEN = {
    "as they are": ["--size", "City", "CamVid", "ADE20K"],
    "with few registers": ["--size", "CamVid", "--cell", "aspp", "--registers", "64"],
}
EACH = """
import json, os, sys
from count_kernels import main

for number, options in enumerate(json.loads(sys.argv[1])):
    if os.fork() == 0:
        for stream, name in ((1, "stdout"), (2, "stderr")):
            os.dup2(os.open(f"{name}-{number}", os.O_CREAT | os.O_WRONLY), stream)
        sys.argv[1:] = options
        sys.exit(main())
    print(os.waitstatus_to_exitcode(os.wait()[1]), flush=True)
"""


@pytest.fixture(scope="module")
def counted(tmp_path_factory):
    """The exit code, output and errors for each of what is given: of processes that have imported PyTorch and Triton once."""
    folder = tmp_path_factory.mktemp("counted")
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(FOLDER)!r}){EACH}", json.dumps([*GIVEN.values()])]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    said = [[(folder / f"{name}-{number}").read_text() for name in ("stdout", "stderr")] for number in range(len(GIVEN))]
    return dict(zip(GIVEN, zip(map(int, done.stdout.split()), said, strict=True), strict=True))


def test_no_kernel_of_a_step_spills(counted):
    code, (output, errors) = counted["as they are"]
    assert code == 0, errors[-2000:]
    assert {"_walk", "_convolve", "_gradient"} <= {line.split()[0] for line in output.splitlines()}


def test_a_spill_is_seen(counted):
    code, (_, errors) = counted["with few registers"]
    assert code == 1
    assert "_walk" in errors
