"""The pages of docs/reference/ and what they describe are the same."""

import re
import sys
from dataclasses import fields

from yaml import safe_load

from search.commands import compare, fidelity, simulate
from search.findings import leaderboard, training_course, two_rankings
from search.help import COMMANDS, OPTIONS, sources
from search.journal.lines import _EVENTS
from tests.docs.told_to_bash import ROOT

sys.path.insert(0, str(ROOT / "docs" / "_site"))
from settings_pages import choice_pages, command_pages

REFERENCE = ROOT / "docs" / "reference"


def test_every_event_of_the_journal_is_there_with_its_fields():
    rows = re.findall(r"^\| `(\w+)` \| .* \| (`.*`) \|$", (REFERENCE / "journal.md").read_text(), re.MULTILINE)
    told = {event: re.findall(r"`(\w+)`", names) for event, names in rows if event in _EVENTS}
    assert told == {event: [field.name for field in fields(kind)] for event, kind in _EVENTS.items()}


def test_every_table_is_there_with_its_columns():
    page = (REFERENCE / "files.md").read_text()
    named = set(re.findall(r"(\w+\.csv)", page))
    told = {name: re.findall(r"`(\w+)`", row) for name, row in re.findall(r"^\| `(\w+\.csv)` \| (`.*) \|$", page, re.MULTILINE)}
    written = {
        "leaderboard.csv": [*leaderboard.COLUMNS, "latency_ms"],
        "rerank.csv": two_rankings.COLUMNS,
        "fidelity.csv": fidelity.COLUMNS,
        "comparison.csv": compare.COLUMNS,
        "simulation.csv": simulate.COLUMNS,
        "course.csv": training_course.COLUMNS,
    }
    assert told.keys() == named
    assert told == {name: list(columns) for name, columns in written.items()}


def test_every_command_and_option_is_in_the_table():
    page = (REFERENCE / "commands.md").read_text()
    assert {command for command in COMMANDS if f"| `dpc {command} " not in page and f"| `dpc {command}`" not in page} == set()
    assert {option for option, _ in OPTIONS if f"| `{option}" not in page} == set()


def test_the_site_has_every_setting_of_every_command():
    for command, page in command_pages().items():
        told = set(re.findall(r"<code>([\w.-]+)</code>", page.replace("<wbr>", "")))
        there = {key: value for text in sources(command) for key, value in keys(safe_load(text))}
        assert {key for key, value in there.items() if not isinstance(value, dict)} <= told <= there.keys(), command


def keys(settings, above=""):
    """Of all settings below, with dots, and their values."""
    for key, value in settings.items():
        if not key.startswith("_") and key != "defaults":
            yield f"{above}{key}", value
            yield from keys(value, f"{above}{key}.") if isinstance(value, dict) else ()


def test_a_choice_has_its_settings_with_their_comments():
    page = choice_pages()["proxy"].replace("<wbr>", "")
    assert "| <code>proxy.optimizer.warmup</code> | `0` | iterations |" in page
    assert "_target_" not in page


def test_a_setting_without_a_comment_is_described_by_its_class_also_where_a_choice_builds_on_another():
    described = {line for line in choice_pages()["proxy"].splitlines() if "batch_size" in line or "learning_rate" in line}
    assert described
    assert not [line for line in described if line.endswith("|  |")]
