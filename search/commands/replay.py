"""``dpc replay``: does this code, given a journal, propose and decide as the search did?"""

from pathlib import Path

from rich.console import Console

from models.cost import FeatureShape
from search.config import Config, ConfigError
from search.deciding.space import CellSpace
from search.journal.lines import read_events
from search.journal.record import SearchRecord
from search.journal.replay import replay
from search.session.plan import DECIDING, build_plan, differences

SHOWN = 10


def run(config: Config) -> int:
    """Make every proposal and decision again; exit code 1 if one comes out differently."""
    name = config.value("name", str)
    journal = config.value("output_dir", Path).resolve() / name / "journal.jsonl"
    events, _ = read_events(journal, operators=config.build("space", CellSpace).operator_kinds)
    opened = SearchRecord(events).opened
    if opened is None:
        raise ConfigError(f"name: no search at {journal}.")
    recorded = {key: opened.fingerprint.get(key) for key in DECIDING}
    if changed := differences(recorded, config.plain(*DECIDING)):
        raise ConfigError(f"name: {name} was searched with other settings ({changed}); give those of its dpc search.")
    replayed = replay(events, build_plan(config, FeatureShape(*opened.fingerprint["features"]["shape"])))
    console = Console(highlight=False)
    for difference in replayed.differences[:SHOWN]:
        console.print(difference, soft_wrap=True)
    count = len(replayed.differences)
    verdict = f"{count} come out differently" if count else "all come out the same"
    console.print(f"{replayed.proposals} proposals and {replayed.decisions} decisions of {name}: {verdict}.")
    return 1 if count else 0
