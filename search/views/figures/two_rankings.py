"""Proxy scores against those of a longer training as a picture (Chen et al. 2018, figure 4b)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from search.findings.estimates import rank_correlation
from search.findings.leaderboard import ordinal
from search.views.figures.style import BLUE, DPI, GREY, INK, VERMILLION, plain_axes, save_figure

NAMED = 3
"""Cells that are numbered and named: the best after re-ranking."""


def draw_two_rankings(
    pairs: Sequence[tuple[float, float, str]],
    path: Path,
    title: str = "",
    labels: tuple[str, str] = ("mIoU on the proxy task (%)", "mIoU after re-ranking (%)"),
    first: str = "proxy",
) -> None:
    """Draw cells by their scores, with Spearman's rho and its 95 % interval.

    Args:
        pairs: proxy mIoU, final mIoU (both 0 to 1) and label of each cell; the best are named by theirs.
        labels: of the axes.
        first: what the first score is called in the notes.
    """
    figure = Figure(figsize=(5.0, 4.6), dpi=DPI, layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(title, fontsize=10.5, fontweight="bold", loc="left", parse_math=False)
    axes.set_xlabel(labels[0])
    axes.set_ylabel(labels[1])
    axes.margins(0.12)
    plain_axes(axes)
    if not pairs:
        axes.text(0.5, 0.5, "no cell has been re-ranked yet", transform=axes.transAxes, ha="center", color=GREY)
        save_figure(figure, path)
        return
    proxy = [100 * score for score, _, _ in pairs]
    final = [100 * score for _, score, _ in pairs]
    axes.scatter(proxy, final, s=26, color=BLUE, edgecolor="white", linewidth=0.5, zorder=3)
    by_proxy = sorted(range(len(pairs)), key=lambda index: -proxy[index])
    notes = [_verdict(proxy, final)]
    for rank, index in enumerate(sorted(range(len(pairs)), key=lambda index: -final[index])[:NAMED], start=1):
        ring: dict[str, Any] = {"facecolor": "none", "edgecolor": VERMILLION, "linewidth": 1.4, "zorder": 4}
        axes.scatter([proxy[index]], [final[index]], s=80, **ring)
        beside: dict[str, Any] = {
            "xytext": (0, 7),
            "textcoords": "offset points",
            "ha": "center",
            "fontsize": 8,
            "weight": "bold",
        }
        axes.annotate(str(rank), (proxy[index], final[index]), color=INK, zorder=5, **beside)
        notes.append(f"{rank}: {pairs[index][2]}, {ordinal(by_proxy.index(index) + 1)} by {first}")
    figure.supxlabel("\n".join(notes), fontsize=8, color=INK, x=0.02, ha="left", parse_math=False)
    save_figure(figure, path)


def _verdict(proxy: Sequence[float], final: Sequence[float]) -> str:
    fitted = rank_correlation(proxy, final)
    if fitted is None:
        return f"{len(proxy)} cells: too few, or too much alike, for a rank correlation"
    return f"Spearman's rho {fitted.text()}"
