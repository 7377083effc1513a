"""The report of a search: one page, right, inert, whatever the search's state."""

import base64
import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from html.parser import HTMLParser
from pathlib import Path
from random import Random

import pytest

from models.segmenter import Segmenter
from models.settings import BackboneSettings, CellSettings
from models.spec import BACKBONE, AtrousConv, Branch, CellSpec
from search.cli import main
from search.conf_files import CONF
from search.deciding.outcomes import Status
from search.deciding.space import AtrousConvs, CellSpace, PointwiseConvs, PyramidPoolings
from search.findings.contributions import branch_contributions, model_contributions
from search.findings.cost_front import cost_front
from search.findings.course import course, rung_courses
from search.journal.events import CellProposed, Event, RungReached, SearchClosed, SearchOpened, TrialEnded, TrialInherited
from search.journal.journal import Journal
from search.journal.record import SearchRecord
from search.journal.recorded import space_of
from search.session.conf_choices import _settings, by_choice, retrain_best, shared_arguments
from search.views.report import readings
from search.views.report.leaderboard import board
from search.views.report.page import Report, render
from search.views.report.searched import fingerprint_lines, in_words, scope, searched
from search.wording import in_time, ordinal, quantity

SPACE = CellSpace(
    5, {"a": PointwiseConvs(), "b": AtrousConvs([1, 3, 6, 9, 12, 15, 18, 21]), "c": PyramidPoolings([1, 2, 4, 8])}
)
FINGERPRINT = {
    "space": {
        "kind": "search.deciding.space.CellSpace",
        "num_branches": 5,
        "operators": {
            "pointwise": {"kind": "search.deciding.space.PointwiseConvs"},
            "atrous": {"kind": "search.deciding.space.AtrousConvs", "rates": [1, 3, 6, 9, 12, 15, 18, 21]},
            "pooling": {"kind": "search.deciding.space.PyramidPoolings", "grids": [1, 2, 4, 8]},
        },
    },
    "algorithm": {"kind": "search.deciding.algorithms.uniform.Uniform"},
    "scheduler": {"kind": "search.deciding.schedulers.Asha", "grace_iterations": 10, "reduction_factor": 2},
    "proxy": {"rungs": [10, 20, 30], "cell": {"filters": 32}},
    "seed": 7,
    "features": {"search_val": {"dataset": {"content": "c0ffee"}, "backbone": {"weights": "5eed"}}, "shape": [96, 21, 21]},
    "scoring_code": "0123456789abcdef",
}
OPENED = SearchOpened("demo", FINGERPRINT, {"trials": 40}, 1000.0)
EVIL = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'&"


def search(trials: int, rungs: int = 3, failing: float = 0.1, running: int = 0, seed: int = 0) -> list[Event]:
    """A search's events, a second apart."""
    rng, events = Random(seed), [OPENED]
    for number in range(trials + running):
        cell = SPACE.sample(rng)
        events.append(CellProposed(number, cell, 0, 100 + number, 1000 + number, 1000.0 + number))
        if rng.random() < failing:
            events.append(TrialEnded(number, rng.choice([Status.DIVERGED, Status.FAILED]), "out of luck", 1.0, 1000.0 + number))
            continue
        last = rng.randint(1, rungs)
        for rung in range(1, last + 1):
            miou = 0.2 * rung + 0.1 * rng.random()
            events.append(RungReached(number, rung, 10 * rung, miou, 1.0, 9.0 * rung, rung < last, "", 1000.0 + number))
        if number < trials:
            status = Status.COMPLETED if last == rungs else Status.STOPPED
            events.append(TrialEnded(number, status, "", 9.0 * last, 1000.0 + number))
    return events


def write(folder: Path, events: Sequence[Event], torn: bytes = b"") -> Path:
    path = folder / "demo" / "journal.jsonl"
    path.unlink(missing_ok=True)
    with Journal(path) as journal:
        journal.append(*events)
    with path.open("ab") as file:
        file.write(torn)
    return path


class Page(HTMLParser):
    """A page's elements, and its text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.html, self.elements, self.text = html, [], ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += f"{data} "

    @property
    def tags(self) -> list[str]:
        return [tag for tag, _ in self.elements]

    def says(self, *texts: str) -> bool:
        return all(" ".join(text.split()) in " ".join(self.text.split()) for text in texts)


def report(folder: Path, *overrides: str) -> Page:
    assert main(["report", "name=demo", f"output_dir={folder}", *overrides]) == 0
    assert not list((folder / "demo").glob("*.partial"))
    return Page((folder / "demo" / "report.html").read_text())


def assert_is_inert(page: Page) -> None:
    assert not {"script", "link", "iframe", "object", "embed", "base", "form", "img", "foreignobject", "animate", "set"} & set(
        page.tags
    )
    for tag, attributes in page.elements:
        assert not [name for name in attributes if name.startswith("on") or name in ("src", "srcset", "style", "xlink:href")]
        here = ("#", "data:image/png;base64,") if tag == "image" else ("#",)
        assert attributes.get("href", "#").startswith(here)


@pytest.fixture
def finished(tmp_path):
    events = search(40)
    write(tmp_path, [*events, SearchClosed("40 trials", 1100.0)])
    return tmp_path, SearchRecord(events)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The page of a finished search with all its figures, and the search."""
    folder, events = tmp_path_factory.mktemp("whole"), search(40)
    write(folder, [*events, SearchClosed("40 trials", 1100.0)])
    return report(folder), SearchRecord(events)


def test_the_page_has_the_leaderboard_with_costs_and_what_to_run_next(finished, undrawn):
    folder, record = finished
    page = report(folder, "rows=5")
    cells = r"<th scope=\"row\">(\d+)</th><td class=\"number\">([\d.]+)</td>.*?<code>(\w+)</code>"
    rows = re.findall(rf"<tr id=\"t(\d+)\" class=\"(\w+)([\w -]*)\">{cells}", page.html)
    ranked = [trial for trial in record.ranked() if trial.miou is not None]
    assert rows == [
        (
            str(trial.number),
            trial.status,
            (" late" if rank > 5 else "") + (" late-of-status" if place > 5 else ""),
            str(rank),
            f"{100 * trial.miou:.2f}",
            trial.cell.digest,
        )
        for rank, trial in enumerate(ranked, start=1)
        for place in [sum(other.status == trial.status for other in ranked[:rank])]
    ]
    assert page.says(str(ranked[0].cell), f"dpc retrain output_dir={folder} from=demo rank=1")


def test_the_page_says_what_was_searched_and_how_it_went(whole):
    page, record = whole
    assert page.says(
        "Complete: 40 trials.",
        "418,414,128,120 encodings, 37,888,452,756 different cells",
        "uniform, asha",
        "rungs 10, 20, 30",
        "c0ffee",
        "0123456789abcdef",
        "out of luck",
        f"completed {record.ends[Status.COMPLETED]}",
        f"stopped early {record.ends[Status.STOPPED]}",
        "space.operators.atrous.rates = [1, 3, 6, 9, 12, 15, 18, 21]",
    )


def test_every_figure_is_inside_the_page_with_a_sentence(whole):
    page, _ = whole
    figures = [attributes for tag, attributes in page.elements if tag == "svg" and attributes.get("class") != "glyph"]
    assert len(figures) == 10  # search for a page and for a phone, progress, scores, four cells, choices, parameters
    assert all(len(figure["aria-label"]) > 30 for figure in figures)
    assert page.tags.count("figcaption") == page.tags.count("figure") == 9
    names = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(names) == len(set(names))
    used = {attributes["href"].removeprefix("#") for tag, attributes in page.elements if tag in ("a", "use")}
    assert used <= set(names)


def test_a_mark_of_a_figure_says_its_cell_and_leads_to_its_row(whole):
    page, record = whole
    best = record.best
    said = re.search(rf'<a href="#t{best.number}"><title>(.*?)</title>', page.html, flags=re.DOTALL)[1]
    assert said.startswith(f"Rank 1: {100 * best.miou:.2f} %, completed at rung 3")
    assert str(best.cell).replace("<", "&lt;") in said
    scored = [trial for trial in record.finished if trial.miou is not None]
    rows = {attributes["id"] for tag, attributes in page.elements if tag == "tr" and "id" in attributes}
    assert rows == {f"t{trial.number}" for trial in scored}


def test_of_a_thousand_cells_the_front_and_the_best_hundred_have_a_row():
    record = SearchRecord(search(1500, failing=0))
    ranked = record.ranked()
    rows = board(record, ranked, shown=20).rows
    front = {one.trial for one in cost_front(record, "madds").front}
    assert [row.rank for row in rows][:100] == list(range(1, 101))
    assert front <= {row.trial.number for row in rows}
    assert len(rows) < 100 + len(front) + 1
    assert len(board(record, ranked[:1000], shown=20).rows) == 1000


def test_the_page_is_one_a_person_can_find_their_way_in(whole):
    page, _ = whole
    targets = [attributes["href"] for tag, attributes in page.elements if tag == "a"]
    sections = {f"#{attributes['id']}" for tag, attributes in page.elements if tag == "section"}
    assert {target for target in targets if not re.fullmatch(r"#t\d+", target)} == sections
    assert page.tags.count("details") == 3
    assert page.html.index("search0-") < page.html.index('id="leaderboard"')  # the page leads with the search in one picture
    assert all(attributes.get("scope") in ("col", "row") for tag, attributes in page.elements if tag == "th")


@pytest.mark.parametrize(
    ("recorded", "given", "expected"),
    [
        (
            {"kind": "data.datasets.camvid.CamVid", "root": "/my data", "folds": None},
            [],
            ["dataset=camvid", "dataset.root=/my data"],
        ),
        ({"kind": "data.datasets.shapes.Shapes", "seed": 3, "size_px": 321}, [], ["dataset=shapes", "dataset.seed=3"]),
        ({"kind": "my_module.Mine"}, [], []),
        ({"kind": "data.datasets.shapes.Shapes", "seed": 3}, ["dataset=folder"], ["dataset=folder"]),
        ({"kind": "data.datasets.shapes.Shapes", "seed": 3}, ["experiment=demo"], ["experiment=demo"]),
    ],
    ids=["its root", "what was changed", "one of a user's own", "given", "in an experiment"],
)
def test_the_next_command_has_the_data_set_of_the_search(recorded, given, expected):
    assert shared_arguments(given, SearchOpened("one", {}, {"dataset": recorded}, 0.0)) == expected


def test_the_next_command_has_what_the_search_was_told():
    arguments = ["experiment=camvid", "dataset.root=/data", "trials=9", "output_dir=there"]
    opened = SearchOpened("one", {}, {"arguments": arguments, "dataset": {"kind": "data.datasets.camvid.CamVid"}}, 0.0)
    assert shared_arguments(["output_dir=here"], opened) == ["output_dir=here", "experiment=camvid", "dataset.root=/data"]
    assert shared_arguments(["experiment=demo"], opened) == ["experiment=demo"]


def test_the_next_command_says_nothing_twice():
    arguments = ["~space.operators.pooling", "tracking.uri=there", "name=no_pooling"]
    opened = SearchOpened("no_pooling", {}, {"arguments": arguments}, 0.0)
    found = shared_arguments(["~space.operators.pooling", "tracking.uri=here"], opened)
    assert found == ["~space.operators.pooling", "tracking.uri=here"]


def test_the_next_command_finds_the_conf_folder_of_the_search():
    opened = SearchOpened("one", {}, {"arguments": ["--config-dir=mine", "dataset=own", "trials=9"]}, 0.0)
    for given in ([], ["--config-dir=mine"]):
        assert sorted(retrain_best(given, opened, "one")) == sorted(
            ["retrain", "--config-dir=mine", "dataset=own", "from=one", "rank=1"]
        )


def test_the_next_command_has_the_backbone_of_the_search():
    settled = {"name": "tu-mobilenetv2_100", "output_stride": 8, "weights": "hub", "mean": [0.5], "std": [0.5], "seed": 0}
    found = shared_arguments([], SearchOpened("one", {}, {"backbone": settled}, 0.0))
    assert found == ["backbone=mobilenetv2", "backbone.output_stride=8", "backbone.weights=hub"]


@pytest.mark.parametrize("group", ["algorithm", "scheduler", "dataset"])
def test_a_page_names_what_decides_as_a_person_types_it(group):
    for file in (CONF / group).glob("*.yaml"):
        settings = _settings(file)
        if file.stem != "listed":
            named = by_choice(SearchOpened("one", {group: {**settings, "kind": settings["_target_"]}}, {}, 0.0))
            assert named.fingerprint[group]["kind"] == file.stem


@pytest.mark.parametrize("suffix", ["pdf", "svg"])
def test_every_figure_of_the_page_is_a_file_where_it_is_asked_for(suffix, finished):
    folder, _ = finished
    report(folder, f"figures={folder}/figures", f"format={suffix}", "width=3.3")
    files = sorted((folder / "figures").iterdir())
    names = [
        "cell_rank_1",
        "cell_rank_2",
        "cell_rank_3",
        "cell_worst",
        "parameters",
        "progress",
        "scores",
        "search",
        "what_mattered",
    ]
    assert [file.name for file in files] == [f"{name}.{suffix}" for name in names]
    for file in files:
        written = file.read_bytes()
        size = re.search(rb"/MediaBox \[ 0 0 ([\d.]+)" if suffix == "pdf" else rb'width="([\d.]+)pt"', written)
        assert float(size[1]) <= 3.3 * 72 + 0.01
        assert b"/Type3" not in written


def test_a_browser_may_load_nothing_but_what_is_in_the_page(whole):
    page, _ = whole
    assert_is_inert(page)
    (policy,) = [attributes["content"] for _, attributes in page.elements if "http-equiv" in attributes]
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    style = re.search(r"<style>(.*?)</style>", page.html, flags=re.DOTALL)[1]
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert rules == {
        "default-src": "'none'",
        "img-src": "data:",
        "style-src": f"'sha256-{digest}'",
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    assert not re.search(r"url\(|@import", style)
    assert '<svg xmlns="http://www.w3.org/2000/svg"' in page.html


@dataclass(frozen=True)
class Evil:
    """An operator whose text is markup."""

    def to_json(self):
        return {"op": EVIL}

    @classmethod
    def from_json(cls, entry):
        return None

    def __str__(self):
        return EVIL


def test_markup_in_a_journal_is_text(tmp_path):
    opened = replace(OPENED, name=EVIL, fingerprint={**FINGERPRINT, "algorithm": {"kind": EVIL, EVIL: EVIL}})
    events = [replace(event, reason=EVIL) if isinstance(event, TrialEnded) else event for event in search(20)]
    write(tmp_path, [opened, *events[1:], SearchClosed(EVIL, 1100.0)])
    page = report(tmp_path)
    assert_is_inert(page)
    assert page.text.count("<script>alert(1)</script>") >= 4
    write(tmp_path, [*search(20), SearchClosed("20 trials", 1100.0)])
    assert page.tags == report(tmp_path).tags


def test_markup_in_a_cell_and_a_command_is_text():
    events = search(1, rungs=1, failing=0)
    record = SearchRecord(events)
    (trial,) = record.ranked()
    trial.proposed = replace(trial.proposed, cell=CellSpec((Branch(BACKBONE, Evil()),)))
    page = Page(
        render(
            Report(
                name="",
                scope="",
                state="",
                summary="",
                facts=[],
                checklist=[],
                course=course(events, record),
                rungs=[],
                rungs_reading="",
                board=board(record, [trial], 20),
                noise=None,
                next_command=EVIL,
                pictures={},
                limits=[],
                fingerprint=[EVIL],
                folder=EVIL,
            )
        )
    )
    assert_is_inert(page)
    assert page.text.count("<script>alert(1)</script>") == 4


def test_the_same_journal_gives_the_same_page(finished):
    folder, _ = finished
    assert report(folder).html == report(folder).html


@pytest.mark.parametrize(
    ("events", "sentences"),
    [
        ([OPENED], ["No trial has finished yet.", "0 of 40 trials have ended; none is under way", "so no cell is ranked"]),
        (
            search(0, running=3, failing=0),
            ["No trial has finished yet.", "0 of 40 trials have ended, 3 run or were interrupted"],
        ),
        (search(9, failing=1), ["None of the 9 finished trials has a score.", "9 of 40 trials have ended", "out of luck"]),
        (search(9, rungs=1, failing=0), ["The best cell so far scores", "Of 9 completed trials half score"]),
        (search(2, failing=0), ["Too few trials completed to say how well early scores rank cells."]),
    ],
    ids=["just opened", "first trials run", "all failed", "one rung", "two trials"],
)
def test_a_search_in_any_state_has_a_page(events, sentences, tmp_path):
    write(tmp_path, events)
    page = report(tmp_path)
    assert_is_inert(page)
    assert page.says(*sentences)


def test_a_search_that_writes_at_this_moment_has_a_page(tmp_path, undrawn):
    write(tmp_path, search(20, running=2), torn=b'{"event": "rung_reached", "tri')
    assert report(tmp_path).says("20 of 40 trials have ended")


def test_stopped_trials_alone_are_not_called_completed(tmp_path, undrawn):
    cell = SPACE.sample(Random(0))
    write(
        tmp_path,
        [
            OPENED,
            CellProposed(0, cell, 0, 1, 1, 1000.0),
            RungReached(0, 1, 10, 0.5, 1.0, 9.0, False, "", 1001.0),
            TrialEnded(0, Status.STOPPED, "", 9.0, 1001.0),
        ],
    )
    page = report(tmp_path)
    assert page.says("at rung 1, and no trial has completed yet", "No trial has completed.", "completed 0")
    assert "What a score costs" not in page.text


def test_a_stopped_cell_that_is_first_is_told_beside_completed_ones(tmp_path, undrawn):
    scores = {0: (0.30, 0.35, 0.40), 1: (0.44,)}
    events = [OPENED]
    for number, mious in scores.items():
        events.append(CellProposed(number, SPACE.sample(Random(number)), 0, 1, 1, 1000.0))
        events += [
            RungReached(number, rung, 10 * rung, miou, 1.0, 9.0, rung < len(mious), "", 1001.0)
            for rung, miou in enumerate(mious, start=1)
        ]
        status = Status.COMPLETED if len(mious) == 3 else Status.STOPPED
        events.append(TrialEnded(number, status, "", 9.0, 1001.0))
    write(tmp_path, events)
    assert report(tmp_path).says("scores 44.00 % mIoU", "at rung 1, where it was stopped.")


def test_one_cell_that_was_scored_twice_is_not_denied_and_accepted_code_is_said(tmp_path, undrawn):
    events = search(6, failing=0)
    number = next(event.trial for event in events if isinstance(event, TrialEnded) and event.status == Status.COMPLETED)
    cell = next(event.cell for event in events if isinstance(event, CellProposed) and event.trial == number)
    again = [
        CellProposed(6, cell, 1, 1, 1, 1010.0, number),
        *(RungReached(6, rung, 10 * rung, 0.5, 1.0, 9.0, rung < 3, "", 1011.0) for rung in (1, 2, 3)),
        TrialEnded(6, Status.COMPLETED, "", 9.0, 1011.0),
    ]
    write(tmp_path, [*events, replace(OPENED, accepted={"scoring_code": ("aaaa", "bbbb")}), *again])
    page = report(tmp_path)
    assert page.says("Too few cells were scored twice", "one search, 1 cell scored twice; dpc compare")
    assert page.says("but for code that was changed on the way", "as a person said: scoring_code from aaaa to bbbb")


def inherited(number: int, is_comparable: bool) -> TrialInherited:
    rungs = [(10, 0.4, 1.0, 1.0), (20, 0.7, 1.0, 2.0), (30, 0.99, 1.0, 3.0)]
    cell = SPACE.sample(Random(99))
    return TrialInherited(number, "parent", is_comparable, cell, 0, 1, 1, rungs, Status.COMPLETED, "", 3.0, 999.0)


def renumbered(events: Sequence[Event]) -> list[Event]:
    return [replace(event, trial=event.trial + 1) if hasattr(event, "trial") else event for event in events]


@pytest.mark.parametrize("is_comparable", [True, False])
def test_inherited_cells_are_ranked_where_their_scores_are_comparable(is_comparable, tmp_path, undrawn):
    write(tmp_path, [inherited(0, is_comparable), *renumbered(search(10))])
    page = report(tmp_path)
    assert page.says("1 finished cell of another search")
    assert page.says("completed at 3 in parent") == is_comparable
    assert page.says("Inherited cells that were scored otherwise") != is_comparable
    assert page.says("scores 99.00 % mIoU") == is_comparable


def test_times_between_runs_do_not_count():
    events = search(10, failing=0)
    again = [replace(OPENED, settings={"trials": 90}, time_s=5000.0), SearchClosed("done", 5030.0)]
    gone = course([*events, *again], SearchRecord([*events, *again]))
    assert (gone.wall_s, gone.starts, gone.planned, gone.closed) == (9.0 + 30.0, 2, 90, "done")
    assert gone.trial_s == sum(trial.elapsed_s for trial in SearchRecord(events).finished)


def test_rungs_count_who_reached_them_and_who_was_stopped_there():
    record = SearchRecord(search(60))
    lengths = [len(trial.rungs) for trial in record.finished if trial.miou is not None]
    found = rung_courses(record)
    assert [rung.iteration for rung in found] == [10, 20, 30]
    assert [rung.reached for rung in found] == [sum(length >= rung for length in lengths) for rung in (1, 2, 3)]
    assert [rung.stopped for rung in found] == [lengths.count(1), lengths.count(2), 0]
    assert [rung.correlation is None for rung in found] == [False, False, True]


def test_a_landmark_that_the_search_completed_has_its_score(tmp_path, undrawn):
    aspp = CellSpec.read(CONF / "cell" / "aspp.json")
    events = search(10, failing=0)
    events += [
        CellProposed(10, aspp, 0, 1, 1, 1000.0),
        *(RungReached(10, rung, 10 * rung, 0.5, 1.0, 9.0, rung < 3, "", 1001.0) for rung in (1, 2, 3)),
        TrialEnded(10, Status.COMPLETED, "", 9.0, 1001.0),
    ]
    write(tmp_path, events)
    assert report(tmp_path).says("DPC: only the costs are known here")
    assert not report(tmp_path, "landmarks.dpc_top1=0.6").says("only the costs are known here")


def test_retrained_cells_show_what_their_branches_contribute(finished, undrawn):
    folder, record = finished
    best = record.best.cell
    model = Segmenter(best, 2, BackboneSettings("local"), CellSettings(filters=8))
    model.save_pretrained(folder / "demo" / f"retrain-{best.digest}")
    found = model_contributions(folder / "demo" / f"retrain-{best.digest}" / "model.safetensors")
    assert found.cell == best
    assert found.by_branch == branch_contributions(model.cell.project[1].weight.detach().numpy(), 5)
    assert report(folder).says(f"Branches of {best.digest}", readings.of_contributions(found))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["name=other"], r"name: no search 'other', .*other/journal.jsonl does not exist\."),
        (["rows=0"], r"rows: must be at least 1, got 0\."),
        (["good_share=1.5"], r"good_share: must be at most 1, got 1\.5\."),
        (["landmarks.aspp=74"], r"landmarks.aspp: must be at most 1, got 74"),
        (["+landmarks.mine=null"], "landmarks.mine: no file mine"),
    ],
)
def test_a_wrong_setting_is_one_line(overrides, message, finished, capsys):
    assert main(["report", "name=demo", f"output_dir={finished[0]}", *overrides]) == 2
    error = capsys.readouterr().err
    assert re.search(message, error)
    assert error.count("\n") == 1


def test_a_damaged_model_is_one_line_that_names_it(finished, capsys):
    folder, record = finished
    path = folder / "demo" / f"retrain-{record.best.cell.digest}" / "model.safetensors"
    path.parent.mkdir()
    path.write_bytes(b"no tensors")
    assert main(["report", "name=demo", f"output_dir={folder}"]) == 2
    assert str(path) in capsys.readouterr().err


def test_a_space_with_operators_of_a_users_own_is_not_counted():
    space = FINGERPRINT["space"]
    assert space_of(space).num_distinct == SPACE.num_distinct
    mine = {"kind": "my_module.MyFamily", "rates": [1]}
    assert space_of({**space, "operators": {**space["operators"], "mine": mine}}) is None


@pytest.mark.parametrize("place", ["", "search.space."], ids=["the class alone", "where it lay before the folders moved"])
def test_a_report_is_whole_however_the_journal_names_the_kinds_of_its_space(tmp_path, place, undrawn):
    fingerprint = json.loads(json.dumps(FINGERPRINT).replace("search.deciding.space.", place))
    assert fingerprint["space"]["operators"]["atrous"]["kind"] == f"{place}AtrousConvs"
    write(tmp_path, [replace(OPENED, fingerprint=fingerprint), *search(20)[1:]])
    page = report(tmp_path)
    assert page.says("418,414,128,120 encodings, 37,888,452,756 different cells", "uniform, asha")


def test_a_search_by_an_objective_of_ones_own_is_told_as_one(tmp_path, undrawn):
    fingerprint = {**FINGERPRINT, "features": {"shape": [320, 33, 33]}, "task": {"kind": "my_module.Objective"}}
    write(tmp_path, [replace(OPENED, fingerprint=fingerprint), *search(20)[1:]])
    page = report(tmp_path)
    assert page.says("% mIoU by the objective, with", "Scores are what the objective returned.")
    assert "on the proxy task" not in page.text
    assert "Next:" not in page.text


@pytest.mark.parametrize(
    ("kind", "has_parents"),
    [
        ("search.deciding.algorithms.near_best.NearBest", True),
        ("search.deciding.algorithms.listed.listed_in", False),
        ("search.deciding.algorithms.uniform.Uniform", False),
        ("my_module.NearUniform", True),
    ],
)
def test_an_ancestry_is_drawn_where_cells_have_parents(tmp_path, kind, has_parents, undrawn):
    parent = SPACE.sample(Random(0))
    events = [replace(OPENED, fingerprint={**FINGERPRINT, "algorithm": {"kind": kind, "near_best": 0.8}})]
    for number, (cell, miou) in enumerate([(parent, 0.4), (SPACE.mutate(parent, Random(1)), 0.5)]):
        began_s, ended_s = 1000.0 + 10 * number, 1005.0 + 10 * number
        events.append(CellProposed(number, cell, 0, 100, 1000, began_s))
        events.append(RungReached(number, 1, 10, miou, 1.0, 5.0, False, "", ended_s))
        events.append(TrialEnded(number, Status.COMPLETED, "", 5.0, ended_s))
    write(tmp_path, events)
    assert report(tmp_path).says("How the best came about") == has_parents


def test_a_journal_of_an_older_version_says_what_it_knows():
    old = SearchOpened("old", {"space": {"num_branches": 5, "operators": {"atrous": {"rates": [1]}}}}, {"trials": 3}, 0.0)
    assert {fact.label for fact in searched(old, {})} == {"Space"}
    assert scope(old) == ""


def test_settings_are_read_out_on_one_line():
    assert in_words(FINGERPRINT["scheduler"]) == "Asha: grace_iterations 10; reduction_factor 2"
    assert in_words(FINGERPRINT["proxy"]) == "rungs 10, 20, 30; cell (filters 32)"
    assert in_words(FINGERPRINT["algorithm"]) == "Uniform"
    assert in_words({"crop_px": None, "views": {}, "on": True}) == "crop_px none; views; on yes"
    assert "proxy.cell.filters = 32" in list(fingerprint_lines(FINGERPRINT))


@pytest.mark.parametrize(
    ("number", "text"), [(1, "1st"), (2, "2nd"), (3, "3rd"), (4, "4th"), (11, "11th"), (112, "112th"), (1022, "1,022nd")]
)
def test_places_are_said_as_people_say_them(number, text):
    assert ordinal(number) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (119, "119 s"), (150, "2.5 min"), (9000, "2.5 h"), (1e8, "27,777.8 h")]
)
def test_durations_are_short(seconds, text):
    assert in_time(seconds) == text


def test_a_cell_close_to_the_best_at_lower_cost_is_pointed_out():
    record = SearchRecord([OPENED])
    for number, (miou, madds) in enumerate([(0.80, 100), (0.795, 60), (0.70, 50)]):
        cell = CellSpec((Branch(BACKBONE, AtrousConv((1, 1 + number))),))
        record.apply(CellProposed(number, cell, 0, 1, madds, 0.0))
        record.apply(RungReached(number, 1, 10, miou, 1.0, 1.0, False, "", 0.0))
        record.apply(TrialEnded(number, Status.COMPLETED, "", 1.0, 0.0))
    said = readings.of_costs(cost_front(record, "madds"), [])
    assert said.startswith("3 of 3 completed cells are on the front")
    assert "79.50 % mIoU, within a point of the best, takes 60 % of the best's multiply-adds" in said


def test_what_a_publication_must_say_is_answered_as_far_as_the_journal_knows_it(tmp_path, undrawn):
    events = search(30)
    write(tmp_path, events)
    page = report(tmp_path)
    assert page.says("Beside random search", "this is random search")
    assert page.says("Hardware and versions", "not recorded; please fill in")
    assert page.says("Seeds", "search 7, and one for each training, in the journal; early stops follow timing")
    settings = {"trials": 40, "machine": {"cpu": "a fast one", "torch": "2.15"}}
    near_best = {"kind": "search.deciding.algorithms.near_best.NearBest", "near_best": 0.5, "elite": 5, "max_changes": 3}
    opened = replace(OPENED, fingerprint={**FINGERPRINT, "algorithm": near_best}, settings=settings)
    write(tmp_path, [opened, *events[1:]])
    page = report(tmp_path)
    assert page.says("Hardware and versions", "cpu a fast one; torch 2.15")
    assert page.says("Beside random search", "no: dpc compare beside a search with algorithm=uniform")


def test_a_search_that_scored_cells_twice_shows_what_its_cells_are_expected_to_score(tmp_path, undrawn):
    events = search(30, failing=0)
    completed = [event.trial for event in events if isinstance(event, TrialEnded) and event.status == Status.COMPLETED][:4]
    cells = {event.trial: event.cell for event in events if isinstance(event, CellProposed)}
    for number, first in enumerate(completed, start=30):
        events.append(CellProposed(number, cells[first], 1, 100, 1000, 1100.0, repeats=first))
        events += [
            RungReached(number, rung, 10 * rung, 0.2 * rung + 0.05, 1.0, 9.0, rung < 3, "", 1100.0) for rung in (1, 2, 3)
        ]
        events.append(TrialEnded(number, Status.COMPLETED, "", 9.0, 1100.0))
    write(tmp_path, events)
    page = report(tmp_path)
    assert page.says("Noise, by 4 cells scored twice: standard deviation", "Under a fresh seed the best is expected to score")
    assert page.says("rank mIoU expected cell multiply-adds")
    assert page.says("30 proposed of 40, 30 ended, 0 open")
    assert "(noise=8)" not in page.text


def test_a_re_ranking_is_shown_with_what_it_changed(finished, undrawn):
    folder, record = finished
    assert "trained end to end" not in report(folder).text
    best = [trial for trial in record.ranked() if trial.status == Status.COMPLETED][:6]
    for seed, end in enumerate([[SearchClosed("done", 0.0)], []]):  # seed 1 has begun
        events = [SearchOpened(f"demo re-ranked, seed {seed}", {}, {}, 0.0)]
        for number, trial in enumerate(best[: 6 if end else 4]):
            miou = 0.5 + 0.01 * number  # the other way round
            events.append(CellProposed(number, trial.cell, 0, 1, 1, 0.0))
            events.append(RungReached(number, 1, 10, miou, 1.0, 5.0, False, "", 0.0))
            events.append(TrialEnded(number, Status.COMPLETED, "", 5.0, 0.0))
        with Journal(folder / "demo" / "rerank" / f"seed-{seed}" / "journal.jsonl") as journal:
            journal.append(*events, *end)
    page = report(folder)
    assert page.says("The best cells, trained end to end", f"The best of 6, {best[5].cell.digest[:8]}, was 6th by proxy.")
    assert page.says("rho of both scores: -1.00")


@pytest.mark.parametrize(("number", "text"), [(999, "999"), (999_499, "999K"), (999_500, "1.00M"), (999_600_000, "1.00B")])
def test_a_quantity_has_three_digits(number, text):
    assert quantity(number) == text
