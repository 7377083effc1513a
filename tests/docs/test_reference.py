"""The pages of docs/reference/ and what they describe are the same."""

import re
from dataclasses import fields

from search.help import COMMANDS, OPTIONS
from search.journal.lines import _EVENTS
from tests.docs.told_to_bash import ROOT

REFERENCE = ROOT / "docs" / "reference"


def test_every_event_of_the_journal_is_there_with_its_fields():
    rows = re.findall(r"^\| `(\w+)` \| .* \| (`.*`) \|$", (REFERENCE / "journal.md").read_text(), re.MULTILINE)
    told = {event: re.findall(r"`(\w+)`", names) for event, names in rows if event in _EVENTS}
    assert told == {event: [field.name for field in fields(kind)] for event, kind in _EVENTS.items()}


def test_every_command_and_option_is_in_the_table():
    page = (REFERENCE / "commands.md").read_text()
    assert {command for command in COMMANDS if f"| `dpc {command} " not in page and f"| `dpc {command}`" not in page} == set()
    assert {option for option, _ in OPTIONS if f"| `{option}" not in page} == set()
