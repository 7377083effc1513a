"""Carry the real search to a GPU machine that reaches no package index.

    python benchmarks/gpu_wheels.py fetch /tmp/wheels --python 3.12     # here: wheels, cut into parts that travel one by one
    python benchmarks/gpu_wheels.py unpack /tmp/wheels --into /tmp/site     # there, once all parts lie in one folder
    PYTHONPATH=/tmp/site python -m search.cli search experiment=camvid ...

What the machine has stays out: PyTorch with its CUDA libraries, and what --present names. ``fetch`` resolves the project's own
dependencies under constraints.txt for that Python, downloads them as wheels and writes wheels.tar.00, .01, ... of at most
--part-mb each. ``unpack`` joins them and lays the wheels' content into one folder: neither index nor pip is needed.
"""

import argparse
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Sequence
from pathlib import Path

PROJECT = Path(__file__).parents[1]
PRESENT = ("torch", "torchvision", "triton", "timm", "numpy", "pillow", "safetensors")
SOURCE_ONLY = ("antlr4-python3-runtime",)
"""Of Hydra's dependencies: pure Python, published without a wheel, which is built here."""
MEGABYTE = 10**6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    fetching = commands.add_parser("fetch")
    fetching.add_argument("folder", type=Path)
    fetching.add_argument("--python", default="3.12", help="of the GPU machine")
    fetching.add_argument("--present", nargs="*", default=list(PRESENT), help="packages that it has, with their dependencies")
    fetching.add_argument("--part-mb", type=int, default=60)
    unpacking = commands.add_parser("unpack")
    unpacking.add_argument("folder", type=Path)
    unpacking.add_argument("--into", type=Path, required=True, help="the folder for PYTHONPATH")
    options = parser.parse_args()
    if options.command == "fetch":
        fetch(options.folder, options.python, options.present, options.part_mb)
    else:
        unpack(options.folder, options.into)


def fetch(folder: Path, python: str, present: Sequence[str], part_mb: int) -> None:
    wheels = folder / "wheels"
    wheels.mkdir(parents=True, exist_ok=True)
    pins = resolved(python, present)
    listed = folder / "requirements.txt"
    built = [pin for pin in pins if pin.startswith(SOURCE_ONLY)]
    listed.write_text("".join(f"{pin}\n" for pin in pins if pin not in built))
    platforms = [argument for glibc in (17, 28, 34) for argument in ("--platform", f"manylinux_2_{glibc}_x86_64")]
    platforms += ["--platform", "manylinux2014_x86_64"]
    target = ["--python-version", python, "--implementation", "cp", "--only-binary", ":all:", *platforms]
    run([sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--dest", wheels, "--requirement", listed, *target])
    for pin in built:
        run([sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--wheel-dir", wheels, pin])
    sizes = {path.name: path.stat().st_size for path in sorted(wheels.glob("*.whl"))}
    for name, size in sorted(sizes.items(), key=lambda item: -item[1]):
        print(f"{size / MEGABYTE:7.1f} MB  {name}")
    parts = cut(folder, wheels, part_mb * MEGABYTE)
    print(
        f"{len(sizes)} wheels, {sum(sizes.values()) / MEGABYTE:.0f} MB, in {len(parts)} parts: {parts[0]} to {parts[-1].name}"
    )


def resolved(python: str, present: Sequence[str]) -> list[str]:
    """The project's dependencies as ``name==version``, without what is present and what only that brings."""
    command: list[str | Path] = ["uv", "pip", "compile", "-q", "--no-header", "--no-annotate", "--python-version", python]
    command += ["--python-platform", "x86_64-unknown-linux-gnu", "--constraint", PROJECT / "constraints.txt"]
    for name in present:
        command += ["--no-emit-package", name]
    pins = run([*command, PROJECT / "pyproject.toml"]).splitlines()
    return [pin for pin in pins if "==" in pin and not pin.startswith(("nvidia-", "cuda-"))]


def cut(folder: Path, wheels: Path, part_bytes: int) -> list[Path]:
    """One archive of the wheels, in parts."""
    for old in folder.glob("wheels.tar.*"):
        old.unlink()
    whole = folder / "wheels.tar"
    with tarfile.open(whole, "w") as archive:
        archive.add(wheels, "wheels")
    parts: list[Path] = []
    with whole.open("rb") as source:
        while content := source.read(part_bytes):
            parts.append(folder / f"wheels.tar.{len(parts):02d}")
            parts[-1].write_bytes(content)
    whole.unlink()
    return parts


def unpack(folder: Path, into: Path) -> None:
    whole = folder / "wheels.tar"
    with whole.open("wb") as target:
        for part in sorted(folder.glob("wheels.tar.*")):
            with part.open("rb") as source:
                shutil.copyfileobj(source, target)
    with tarfile.open(whole) as archive:
        archive.extractall(folder, filter="data")
    whole.unlink()
    wheels = sorted((folder / "wheels").glob("*.whl"))
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            for entry in archive.infolist():
                _extract(archive, entry, into)
    print(f"{len(wheels)} wheels in {into}")


def _extract(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, into: Path) -> None:
    """A file with its mode, as Ray's own programs are executable; what is for the packages' folder goes there."""
    first, _, rest = entry.filename.partition("/")
    if first.endswith(".data"):
        kind, _, rest = rest.partition("/")
        if kind not in ("purelib", "platlib"):
            return
        entry.filename = rest
    path = Path(archive.extract(entry, into))
    if mode := entry.external_attr >> 16 & 0o777:
        path.chmod(mode)


def run(command: Sequence[str | Path]) -> str:
    if shutil.which(command[0]) is None:
        sys.exit(f"{command[0]} is not here; pip install {command[0]}")
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        sys.exit(f"{command[0]} failed with status {done.returncode}")
    return done.stdout


if __name__ == "__main__":
    main()
