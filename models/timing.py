"""How long operators and cells take on this machine, for tables of latency (``models.latency``)."""

import time
from collections.abc import Callable, Sequence
from itertools import product
from statistics import median

import torch
from torch import Tensor, nn

from models.cost import FeatureShape
from models.dpc import DensePredictionCell
from models.latency import LatencyTable
from models.operators import build_operator
from models.settings import CellSettings
from models.spec import BACKBONE, Branch, CellSpec, Operator, key_of

SHORTEST_S = 0.002
"""A measurement repeats what takes less."""

Work = Callable[[], object]


def measure_table(
    hardware: str,
    operators: Sequence[Operator],
    num_branches: int,
    features: FeatureShape,
    settings: CellSettings,
    device: torch.device,
    rounds: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> LatencyTable:
    """The medians of ``rounds`` measurements of each operator on either input, and of what joins ``num_branches`` branches.

    Inference of one image in float32, with as many threads as torch has here.
    """
    inputs = {True: _map(features.channels, features, device), False: _map(settings.filters, features, device)}
    places = list(product(operators, inputs))
    works = [
        _work(build_operator(operator, inputs[on_backbone].shape[1], settings), inputs[on_backbone], device)
        for operator, on_backbone in places
    ]
    cell = CellSpec((Branch(BACKBONE, operators[0]),) * num_branches)
    joining = DensePredictionCell(cell, features.channels, settings).project
    works.append(_work(joining, [_map(settings.filters, features, device) for _ in range(num_branches)], device))
    *times, joining_ms = medians_ms(works, rounds, device, progress)
    found = dict(zip(places, times, strict=True))
    return LatencyTable(
        hardware,
        features,
        settings.filters,
        {key_of(operator): ms for (operator, on_backbone), ms in found.items() if on_backbone},
        {key_of(operator): ms for (operator, on_backbone), ms in found.items() if not on_backbone},
        {num_branches: joining_ms},
        {
            "device": device.type,
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
            "output_stride": settings.output_stride,
            "rounds": rounds,
            "images": 1,
        },
    )


def measure_cells(
    cells: Sequence[CellSpec],
    features: FeatureShape,
    settings: CellSettings,
    device: torch.device,
    rounds: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> list[float]:
    """Milliseconds of whole cells, measured as operators are."""
    given = _map(features.channels, features, device)
    works = [_work(DensePredictionCell(cell, features.channels, settings), given, device) for cell in cells]
    return medians_ms(works, rounds, device, progress)


def medians_ms(
    works: Sequence[Work], rounds: int, device: torch.device, progress: Callable[[int, int], None] = lambda done, total: None
) -> list[float]:
    """The median milliseconds of each work. Each round measures all: what disturbs a machine for a while hits few of each."""
    calls = [_calls(work, device) for work in works]
    times_ms: list[list[float]] = [[] for _ in works]
    for number in range(rounds):
        for work, count, of_work in zip(works, calls, times_ms, strict=True):
            of_work.append(1000 * _seconds(work, count, device) / count)
        progress(number + 1, rounds)
    return [median(of_work) for of_work in times_ms]


def _calls(work: Work, device: torch.device) -> int:
    """How many calls take ``SHORTEST_S`` together; the first call, which sets things up, is not counted."""
    _seconds(work, 1, device)
    return max(1, round(SHORTEST_S / max(_seconds(work, 1, device), 1e-6)))


def _seconds(work: Work, calls: int, device: torch.device) -> float:
    """The time of all calls: on a GPU by its events, of one thread by its CPU time, of several by the clock."""
    if device.type != "cuda":
        clock_s = time.thread_time if torch.get_num_threads() == 1 else time.perf_counter
        began_s = clock_s()
        for _ in range(calls):
            work()
        return clock_s() - began_s
    began, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    began.record()
    for _ in range(calls):
        work()
    ended.record()
    ended.synchronize()
    return began.elapsed_time(ended) / 1000


def _map(channels: int, features: FeatureShape, device: torch.device) -> Tensor:
    return torch.randn(1, channels, features.height, features.width, device=device)


def _work(module: nn.Module, given: Tensor | list[Tensor], device: torch.device) -> Work:
    module = module.eval().to(device)

    @torch.inference_mode()
    def work() -> object:
        return module(given)

    return work
