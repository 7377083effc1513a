"""Where the feature caches of a command come from."""

from io import StringIO

import pytest
from rich.console import Console

from data.cache.stored_copy import keep_in_store
from search.config import load
from search.session import caches
from search.session.caches import build_caches
from search.settings.search import read

SPLITS = ("search_train", "search_val")


def test_a_driver_on_a_new_disk_fetches_what_an_earlier_one_brought_to_the_store(tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")  # with a store nothing is asked of it yet
    said = StringIO()

    def built_on(disk):
        given = [f"output_dir={disk}", f"store=file://{tmp_path}/bucket", "dataset.num_train=4", "dataset.num_val=2"]
        settings = read(load("search", [*given, "cache.workers=1"]))
        return settings, build_caches(settings.images, SPLITS, settings.workplace, Console(file=said), written={})

    settings, lost = built_on(tmp_path / "lost")
    for cache in lost.values():
        keep_in_store(cache.folder, settings.workplace.bucket / "caches" / cache.folder.name)
    monkeypatch.setattr(caches, "fill_in_processes", lambda *_: pytest.fail("the features are there"))
    _, found = built_on(tmp_path / "new")
    assert [cache.content for cache in found.values()] == [cache.content for cache in lost.values()]
    assert said.getvalue().count("Fetched from the store: ") == 2
