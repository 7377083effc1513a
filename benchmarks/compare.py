"""Two results of `make bench` side by side.

    python benchmarks/compare.py before/ outputs/bench/     # files or folders

A figure's name ends in its unit. The ratio is after / before: below 1 is faster for `s` and `ms`, slower for `/s` and `x`.
"""

import argparse
import json
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    options = parser.parse_args()
    before, after = figures(options.before), figures(options.after)
    if not before.keys() & after.keys():
        parser.error(f"{options.before} and {options.after} have no figure in common")
    print(f"{'figure':<64}{'before':>12}{'after':>12}{'ratio':>8}")
    for name in sorted(before.keys() | after.keys()):
        ratio = f"{after[name] / before[name]:.2f}" if before.get(name) and name in after else "-"
        print(f"{name:<64}{shown(before.get(name)):>12}{shown(after.get(name)):>12}{ratio:>8}")


def figures(path: Path) -> dict[str, float]:
    """The figures of a file, or of all files in a folder, by script and name."""
    files = sorted(path.glob("*.json")) if path.is_dir() else [path]
    return {
        f"{file.stem.removeprefix('bench_')}: {name}": value
        for file in files
        for name, value in json.loads(file.read_text())["figures"].items()
    }


def shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


if __name__ == "__main__":
    main()
