"""``dpc latency``: how long operators take on this machine, as a table that a search looks cells up in."""

import re
from dataclasses import replace
from random import Random
from statistics import median

import torch

from data.system.errors import UserError
from models.latency import LatencyTable
from models.settings import CellSettings
from models.timing import measure_cells, measure_table
from search.findings.estimates import rank_correlation
from search.session.hints import from_here, print_lines, program
from search.session.machine import hardware
from search.settings.latency import LatencySettings
from search.views.console import plain_console
from search.views.progress_bar import progress_bar
from training.device import why_no_gpu


def run(settings: LatencySettings) -> int:
    """Measure, compare sums over operators with whole cells, and write the table."""
    console, device = plain_console(), _device(settings)
    torch.set_num_threads(settings.threads)
    cell_settings, features, rounds = CellSettings(filters=settings.filters), settings.features, settings.rounds
    space, rng = settings.space, Random(settings.seed)
    cells = [space.sample(rng) for _ in range(settings.check_cells)]
    with progress_bar(console, "rounds over operators") as progress:
        table = measure_table(
            hardware(device), space.choices, space.num_branches, features, cell_settings, device, rounds, progress
        )
    with progress_bar(console, "rounds over whole cells") as progress:
        measured = measure_cells(cells, features, cell_settings, device, rounds, progress)
    summed = [table.of(cell) for cell in cells]
    found = rank_correlation(summed, measured)
    table = replace(table, settings={**table.settings, "cells": len(cells), "rho": found.rho if found else None})
    path = settings.output_dir / "latency" / _file_name(table)
    table.write(path)
    console.print(
        f"Sums over operators and {len(cells)} whole cells of {min(measured):.3g} to {max(measured):.3g} ms: Spearman's rho "
        f"{found.text() if found else 'is not defined'}; sums are {sum(summed) / sum(measured):.2f} of what cells take.",
        soft_wrap=True,
    )
    at_most = f"budget.latency_ms={median(summed):.3g}"
    print_lines(
        {"table": from_here(path), "next": f"{program('dpc')} search latency.table={from_here(path)} {at_most}"}, console
    )
    return 0


def _device(settings: LatencySettings) -> torch.device:
    if settings.device == "cuda" and not torch.cuda.is_available():
        raise UserError(f"device: no GPU can be used here ({why_no_gpu()}).")
    return torch.device(settings.device)


def _file_name(table: LatencyTable) -> str:
    """Such as intel-xeon-1-threads-320x65x129-256.json."""
    threads = f"-{table.settings['threads']}-threads" if table.settings["device"] == "cpu" else ""
    name = re.sub(r"[^a-z0-9]+", "-", table.hardware.lower()).strip("-")
    features = table.features
    return f"{name}{threads}-{features.channels}x{features.height}x{features.width}-{table.filters}.json"
