"""Which driver keeps a search in a store."""

import json
import os
import socket
import subprocess
import threading

import pytest

from search.journal.lines import JournalError
from search.journal.remote import owner
from search.journal.remote.owner import Owner


def test_a_search_that_another_driver_runs_is_refused(place, quick_owners):
    first, told = Owner(place), []
    first.claim(told.append)
    is_over = threading.Event()

    def live():
        while not is_over.wait(0.1):
            first.beat()

    driver = threading.Thread(target=live)
    driver.start()
    try:
        with pytest.raises(JournalError, match=f"already running .process {os.getpid()} on {socket.gethostname()}"):
            Owner(place).claim(told.append, watch_s=20.0)
    finally:
        is_over.set()
        driver.join()
    assert len(told) == 1
    first.beat()


def test_a_silent_driver_elsewhere_loses_its_search_and_hears_of_it(place, quick_owners):
    first, second, told = Owner(place), Owner(place), []
    first.claim(told.append)
    second.claim(told.append, watch_s=0.3)
    assert told == [
        f"Waiting up to 0.3 s to see whether process {os.getpid()} on {socket.gethostname()} still runs this search"
    ]
    with pytest.raises(JournalError, match="has taken this search over"):
        first.beat()
    first.release()
    assert second._token in place.read(owner.FILE).decode(), "the loser's end does not free what another has"
    second.beat()


LEFT = {
    "died here": {"process": None},
    "its number is used again": {"began": "1"},
    "died on a machine of the same name": {"machine": "another", "process": None},
    "was of an older version": {"machine": None},
}
"""What is otherwise in the file that a driver which did not give its search up has left."""


@pytest.mark.parametrize("ended", [*LEFT, "gave it up", "was cut short"])
def test_a_search_without_a_driver_is_taken(place, quick_owners, ended):
    told = []
    if ended in LEFT:
        with subprocess.Popen(["true"]) as gone:
            pass
        first = Owner(place)
        first.claim(told.append)
        held = json.loads(place.read(owner.FILE)) | LEFT[ended]
        place.write(owner.FILE, json.dumps(held | {"process": held["process"] or gone.pid}).encode())
    elif ended == "gave it up":
        first = Owner(place)
        first.claim(told.append)
        first.release()
    else:
        place.write(owner.FILE, b'{"host": "elsewhere", "pro')
    Owner(place).claim(told.append, watch_s=0.1)
    assert len(told) == (ended in ("was cut short", "died on a machine of the same name", "was of an older version"))
