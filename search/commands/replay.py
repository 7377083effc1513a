"""``dpc replay``: does this code, given a journal, propose and decide as the search did?"""

from search.journal.replay import replay
from search.settings.replay import ReplaySettings
from search.views.console import plain_console

SHOWN = 10


def run(settings: ReplaySettings) -> int:
    """Make every proposal and decision again; exit code 1 if one comes out differently."""
    search = settings.search
    replayed = replay(search.events, settings.deciding.plan(search.features))
    console = plain_console()
    for difference in replayed.differences[:SHOWN]:
        console.print(difference, soft_wrap=True)
    count = len(replayed.differences)
    verdict = f"{count} come out differently" if count else "all come out the same"
    console.print(f"{replayed.proposals} proposals and {replayed.decisions} decisions of {search.name}: {verdict}.")
    return 1 if count else 0
