"""The first minutes on a GPU: are kernels right, how long is a step, where does it go, what do packing and whole models give?

    python benchmarks/gpu_first.py --seconds 480 --out /tmp/out                # an H100 or H200
    python benchmarks/gpu_first.py --device cpu --seconds 120 --tiny            # is the script itself in order?

Each stage is a process with a share of the time, ended when that is over. What it finds is a line of OUT/results.jsonl as soon
as it is known, an exception too. Imports PyTorch, Triton, timm, NumPy, safetensors, Pillow and this project alone.

| stage | what |
|---|---|
| kernels | layers and loss against float64 at the sizes that trials run |
| step | a step of three cells: eager, as a graph, fused; and a profile by kernel |
| variants | shapes of programs of each kernel: the fastest belongs into the code |
| determinism | a trial twice: the same bits? |
| packing | trials at once, with NVIDIA's MPS and without; one copy of the features that all of them read |
| models | MobileNet-v2 and Xception-65 end to end: layouts, precisions, cuDNN's choice, a CUDA graph; a profile |
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
if "cpu" in sys.argv:
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # two that wait for each other on a busy machine take a hundred times as long

SHARES = {
    "kernels": 0.10, "step": 0.20, "variants": 0.15, "determinism": 0.08, "packing": 0.22, "models": 0.15, "search": 0.10,
}  # fmt: skip
"""Of the time; what a stage does not need goes to those after it."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=480, help="for all stages together")
    parser.add_argument("--out", type=Path, default=Path(os.environ.get("OUT", "outputs/gpu_first")))
    parser.add_argument("--stages", nargs="*", choices=SHARES, default=list(SHARES))
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true", help="sizes that a CPU manages: is the script in order?")
    parser.add_argument("--search", nargs="*", default=[], help="overrides of `dpc search experiment=camvid`; none: not run")
    parser.add_argument("--stage", choices=SHARES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.stage:
        run(options.stage, options)
        return
    if options.device == "cuda":
        import torch  # noqa: PLC0415  # a CPU's stages are processes that import it

        if not torch.cuda.is_available():
            parser.error("--device: no CUDA device here; --device cpu --tiny tries the script alone")
    options.out.mkdir(parents=True, exist_ok=True)
    ends_s, shares = time.monotonic() + options.seconds, {name: SHARES[name] for name in options.stages}
    failed = []
    for name in options.stages:
        limit_s = (ends_s - time.monotonic()) * shares[name] / sum(shares.values())
        del shares[name]
        print(f"== {name}: at most {limit_s:.0f} s", flush=True)
        if status := in_process(name, limit_s):
            failed.append(f"{name} ({status})")
    print(f"results: {options.out / 'results.jsonl'}" + (f"; not finished: {', '.join(failed)}" if failed else ""))


def in_process(stage: str, limit_s: float) -> str:
    """Run a stage with this process' own arguments; returns how it ended if not well."""
    started = subprocess.Popen([sys.executable, __file__, *sys.argv[1:], "--stage", stage], start_new_session=True)
    try:
        status = started.wait(limit_s)
    except subprocess.TimeoutExpired:
        os.killpg(started.pid, signal.SIGKILL)
        started.wait()
        return "out of time"
    return f"status {status}" if status else ""


def run(stage: str, options: argparse.Namespace) -> None:
    """Write what the stage finds, one line each, as it finds it."""
    import gpu_stages  # noqa: PLC0415

    begun_s = time.monotonic()
    with (options.out / "results.jsonl").open("a", buffering=1) as file:

        def write(what: str, figures: object) -> None:
            entry = {"stage": stage, "s": round(time.monotonic() - begun_s, 1), "what": what, "found": figures}
            file.write(json.dumps(entry) + "\n")
            print(f"{what}: {json.dumps(figures)}", flush=True)

        write("machine", gpu_stages.machine(options.device))
        try:
            for what, figures in gpu_stages.STAGES[stage](options):
                write(what, figures)
        except Exception as error:
            write("exception", {"error": f"{type(error).__name__}: {error}", "traceback": traceback.format_exc()[-3000:]})
            sys.exit(1)


if __name__ == "__main__":
    main()
