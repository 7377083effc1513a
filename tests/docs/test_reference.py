"""The pages of docs/reference/ and what they describe are the same."""

import re
import sys
from dataclasses import fields

import pytest
from yaml import safe_load

from search.config import load
from search.help import COMMANDS, OPTIONS, groups
from search.journal.lines import _EVENTS
from tests.docs.told_to_bash import ROOT

sys.path.insert(0, str(ROOT / "docs" / "_site"))
from settings_pages import choice_pages, command_pages

REFERENCE = ROOT / "docs" / "reference"


def test_every_event_of_the_journal_is_there_with_its_fields():
    rows = re.findall(r"^\| `(\w+)` \| .* \| (`.*`) \|$", (REFERENCE / "journal.md").read_text(), re.MULTILINE)
    told = {event: re.findall(r"`(\w+)`", names) for event, names in rows if event in _EVENTS}
    assert told == {event: [field.name for field in fields(kind)] for event, kind in _EVENTS.items()}


def test_every_command_and_option_is_in_the_table():
    page = (REFERENCE / "commands.md").read_text()
    assert {command for command in COMMANDS if f"| `dpc {command} " not in page and f"| `dpc {command}`" not in page} == set()
    assert {option for option, _ in OPTIONS if f"| `{option}" not in page} == set()


@pytest.mark.parametrize("command", COMMANDS)
def test_the_site_has_every_setting_of_a_command(command):
    pages = {name: text.replace("<wbr>", "") for name, text in (command_pages() | choice_pages()).items()}
    page = pages[command]
    groups_of_it = set(groups(command))
    for key, value in safe_load(load(command, []).yaml()).items():
        if key not in groups_of_it:
            assert f"<code>{key}</code>" in page
            for inner in value if isinstance(value, dict) else ():
                assert inner.startswith("_") or f"<code>{key}.{inner}</code>" in page


def test_a_choice_has_its_settings_with_their_comments():
    page = choice_pages()["proxy"].replace("<wbr>", "")
    assert "| <code>proxy.optimizer.warmup</code> | `0` | iterations |" in page
    assert "_target_" not in page
