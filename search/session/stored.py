"""A search that keeps itself in a bucket, for clusters whose nodes share no disk."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from search.journal.journal import Journal
from search.journal.record import SearchRecord
from search.journal.remote.keeper import KeeperThread, StoredSearch
from search.settings.groups import Workplace

CLOSE_TIMEOUT_S = 20.0


@contextmanager
def restored(workplace: Workplace, journal: Journal, tell: Callable[[str], None]) -> Iterator[StoredSearch | None]:
    """Claim the search whose journal this is, and bring it up to what the store holds; None without a store.

    Raises:
        JournalError: another driver has the search, or the journals went different ways.
        StoreError: the store fails.
    """
    bucket = workplace.bucket
    if bucket is None:
        yield None
        return
    search = StoredSearch(bucket / str(journal.path.parent.relative_to(workplace.output_dir)), journal.path)
    try:
        search.restore(journal, tell)
        yield search
    finally:
        search.owner.release()


@contextmanager
def kept(
    search: StoredSearch | None, journal: Journal, record: SearchRecord, files: Sequence[Path], tell: Callable[[str], None]
) -> Iterator[None]:
    """Keep a search in its store beside what runs within; say so where it is left behind.

    A driver that lost its search to another cannot write its journal any more, and ends when it tries to.
    """
    if search is None:
        yield
        return
    thread = KeeperThread(search, record, files, tell, journal.give_up)
    thread.start()
    try:
        yield
    finally:
        if lacking := thread.close(CLOSE_TIMEOUT_S):
            tell(f"{search.place} lacks {lacking}; nothing is lost while {search.journal.journal} exists")
