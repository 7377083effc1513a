"""What a training sample costs the CPU, and how many CPUs feed a GPU: ``python benchmarks/bench_loader.py --root .../camvid``.

The same samples, read and augmented, alternating in one run: as they are sent to the device now (bytes, a pipeline that is
built once), and as they were (a pipeline a sample, normalised float32).
"""

import argparse
import statistics
import time
from pathlib import Path

import numpy as np

from data.datasets.camvid import CamVid
from data.datasets.shapes import Shapes
from data.transforms import Augmentation, normalize

MEAN, STD = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)
SCALES = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0)
STEPS_A_SECOND, BATCH = 10, 16


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, help="CamVid's folder; without it the embedded shapes")
    parser.add_argument("--samples", type=int, default=40)
    parser.add_argument("--crop", type=int, nargs=2, default=(369, 481))
    options = parser.parse_args()
    dataset = CamVid(str(options.root)) if options.root else Shapes()
    train = dataset.split("train")
    height_px, width_px = options.crop
    kept = Augmentation(height_px, width_px, MEAN, dataset.info.ignore_label, SCALES)
    seconds: dict[str, list[float]] = {"reading": [], "now": [], "before": []}
    sent = {}
    for number in range(options.samples):
        started = time.process_time()
        sample = train[number % len(train)]
        seconds["reading"].append(time.process_time() - started)
        started = time.process_time()
        now = kept(sample, number)
        seconds["now"].append(time.process_time() - started)
        started = time.process_time()
        before = Augmentation(height_px, width_px, MEAN, dataset.info.ignore_label, SCALES)(sample, number)
        normalised = normalize(before.image_HWC, MEAN, STD)
        seconds["before"].append(time.process_time() - started)
        assert np.array_equal(now.image_HWC, before.image_HWC)
        sent = {"now": now.image_HWC.nbytes, "before": normalised.nbytes}
    median = {name: 1e3 * statistics.median(values) for name, values in seconds.items()}
    print(f"{dataset.info.name}, crops of {height_px}x{width_px}, CPU time, medians of {options.samples} samples")
    feeding = f"CPUs for {STEPS_A_SECOND} steps/s of {BATCH}"
    print(f"{'':10}{'ms to augment':>16}{'MB sent':>10}{'samples/s a CPU':>18}{feeding:>28}")
    for name in ("before", "now"):
        cost_ms = median["reading"] + median[name]
        cpus = STEPS_A_SECOND * BATCH * cost_ms / 1e3
        print(f"{name:10}{median[name]:>16.1f}{sent[name] / 1e6:>10.2f}{1e3 / cost_ms:>18.0f}{cpus:>28.1f}")
    print(f"reading: {median['reading']:.1f} ms; augmenting now takes {median['now'] / median['before']:.2f} of before")


if __name__ == "__main__":
    main()
