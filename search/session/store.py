"""The setting ``store``: a search that keeps itself in a bucket, for clusters whose nodes share no disk."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from data.store import Store
from search.config import Config
from search.journal.journal import Journal
from search.journal.record import SearchRecord
from search.journal.remote.keeper import KeeperThread, StoredSearch

CLOSE_TIMEOUT_S = 20.0


def store_of(config: Config) -> Store | None:
    """The store; None where the nodes share ``output_dir`` instead."""
    uri = config.optional("store", str)
    return Store(uri) if uri else None


@contextmanager
def restored(config: Config, journal: Journal, tell: Callable[[str], None]) -> Iterator[StoredSearch | None]:
    """Claim the search whose journal this is, and bring it up to what the store holds; None without a store.

    Raises:
        JournalError: another driver has the search, or the journals went different ways.
        StoreError: the store fails.
    """
    store = store_of(config)
    if store is None:
        yield None
        return
    output_dir = config.value("output_dir", Path).resolve()
    search = StoredSearch(store / str(journal.path.parent.relative_to(output_dir)), journal.path)
    search.restore(journal, tell)
    try:
        yield search
    finally:
        search.owner.release()


@contextmanager
def kept(
    search: StoredSearch | None, record: SearchRecord, files: Sequence[Path], tell: Callable[[str], None]
) -> Iterator[None]:
    """Keep a search in its store beside what runs within; say so where it is left behind."""
    if search is None:
        yield
        return
    thread = KeeperThread(search, record, files, tell)
    thread.start()
    try:
        yield
    finally:
        if lacking := thread.close(CLOSE_TIMEOUT_S):
            tell(f"{search.place} lacks {lacking}; nothing is lost while {search.journal.journal} is there")
