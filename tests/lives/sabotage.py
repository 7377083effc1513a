"""Small sabotages of the search, each of which some life must notice: whether what is promised is tested."""

import importlib
import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FunctionType, ModuleType
from typing import Any

from tests.lives.life import Lived, live


@dataclass(frozen=True)
class Sabotage:
    """``old`` is ``new`` in a module, for once."""

    what: str
    module: str
    old: str
    new: str


JOURNAL, STUDY, RECORD = "search.journal.journal", "search.journal.study", "search.journal.record"
SEGMENTS, KEEPER, OWNER = (f"search.journal.remote.{name}" for name in ("segments", "keeper", "owner"))
PROJECTION, RUNS, FOLLOWER = (f"search.tracking.{name}" for name in ("projection", "search_runs", "follower"))
ATTEMPTS, TRIAL, RUN = (f"search.running.{name}" for name in ("attempts", "trial", "run"))
NEVER, NOTHING = "if False:", "pass"

SABOTAGES = (
    Sabotage("a line is not synced", JOURNAL, "            os.fsync(self._file.fileno())\n", "            pass\n"),
    Sabotage("a new journal's name is not synced", JOURNAL, "sync_folder(self.path.parent)", NOTHING),
    Sabotage(
        "what a killed driver did not sync is believed",
        JOURNAL,
        "self._patience(lambda: os.fsync(self._file.fileno()))",
        "pass",
    ),
    Sabotage("half a line stays", JOURNAL, "os.ftruncate(self._file.fileno(), self._end.offset)", NOTHING),
    Sabotage("a short write counts as whole", JOURNAL, "!= len(lines)", "< 0"),
    Sabotage("the journal is not locked", JOURNAL, 'with_suffix(".lock")', 'with_suffix(f".{id(self)}")'),
    Sabotage("a lost journal is written on", JOURNAL, "if self._given_up is not None:", NEVER),
    Sabotage(
        "a full disk is not waited for",
        JOURNAL,
        'self._patience(lambda: self._write(b"".join(lines)))',
        'self._write(b"".join(lines))',
    ),
    Sabotage(
        "an event is told before it is written",
        STUDY,
        "        self._journal.append(*events)\n",
        "        [self._on_event(event) for event in events]\n        self._journal.append(*events)\n",
    ),
    Sabotage("a score that is known is told again", STUDY, "if score.rung <= len(known):", NEVER),
    Sabotage("interrupted trials are forgotten", STUDY, "deque(trial.proposed for trial in self.record.running)", "deque()"),
    Sabotage("a last score without its end is left open", STUDY, "trial.rungs and not trial.rungs[-1].goes_on", "False"),
    Sabotage(
        "an interrupted search is closed",
        STUDY,
        "if self.is_over and not self.is_complete and not self.trouble and not self._is_left:",
        "if True:",
    ),
    Sabotage(
        "trials tried again are not told to the policy",
        STUDY,
        "            if isinstance(event, TrialsReopened):",
        "            if False:",
    ),
    Sabotage(
        "one trial too many",
        STUDY,
        "self.record.num_proposed < self.plan.trials",
        "self.record.num_proposed <= self.plan.trials",
    ),
    Sabotage("trials tried again still count as ended", RECORD, "self.ends[trial.ended.status] -= 1", NOTHING),
    Sabotage("a window sees later trials", "search.deciding.policy", "if other <= last)", "if True)"),
    Sabotage(
        "a segment leaves a gap",
        SEGMENTS,
        "self._start, self._sent = self.size_bytes, 0",
        "self._start, self._sent = self.size_bytes + 1, 0",
    ),
    Sabotage(
        "a late listing is believed",
        SEGMENTS,
        "while further := self.store.read(_name(base + len(lines))):",
        'while further := b"":',
    ),
    Sabotage("two histories are joined", SEGMENTS, "if stored[:common] != local[:common]:", NEVER),
    Sabotage("what the store holds is not fetched", SEGMENTS, "journal.extend(stored[common:])", NOTHING),
    Sabotage("segments of a driver that lost are kept", SEGMENTS, "if _first_byte(name) >= self._start:", NEVER),
    Sabotage(
        "what did not arrive counts as sent",
        SEGMENTS,
        "            self.store.write(_name(self._start), content)\n            self._sent = len(content)\n",
        "            self._sent = len(content)\n            self.store.write(_name(self._start), content)\n",
    ),
    Sabotage(
        "a driver does not say that it lives",
        KEEPER,
        "    def _sync(self, is_last: bool) -> None:\n        self._search.owner.beat()\n",
        "    def _sync(self, is_last: bool) -> None:\n",
    ),
    Sabotage("checkpoints stay in the store", KEEPER, "self._forget_checkpoints(is_last)", NOTHING),
    Sabotage("a driver that lost its search goes on", KEEPER, "self._lose(str(lost))", NOTHING),
    Sabotage("what the store lacks is not said", KEEPER, "if not self.is_alive() and self.last_error is None:", "if True:"),
    Sabotage("a search is not claimed", KEEPER, "self.owner.claim(tell)", NOTHING),
    Sabotage("a live driver is not waited for", OWNER, "if self._changes(held, watch_s):", NEVER),
    Sabotage(
        "a driver writes its file without a look",
        OWNER,
        "            self._check_held()\n            self._write()\n",
        "            self._write()\n",
    ),
    Sabotage(
        "MLflow is told what is not synced", "search.journal.lines", "-1 if until is None else until - since.offset", "-1"
    ),
    Sabotage(
        "MLflow keeps a failed end of a trial tried again",
        RUNS,
        " and abs(self._ended_s.get(trial.number, -1.0) - ended.time_s) < CLOCK_S",
        " and trial.number in self._ended_s",
    ),
    Sabotage(
        "after an error MLflow is not asked what arrived",
        PROJECTION,
        "self._runs, self._is_search_untold = None, True",
        "self._is_search_untold = True",
    ),
    Sabotage("a run that was created twice stays", RUNS, "self._tracker.client.delete_run(run.info.run_id)", NOTHING),
    Sabotage("a score is not told to MLflow", RUNS, "trial.rungs[max(told, 0) :]", "trial.rungs[max(told + 1, 0) :]"),
    Sabotage(
        "the ends of runs are not told",
        RUNS,
        'self._tracker.end(run_id, "FINISHED" if ended.status.has_score else "FAILED", ended.time_s)',
        NOTHING,
    ),
    Sabotage("cells hang below a lost run", RUNS, "if self._parents[trial] != self._search_run:", NEVER),
    Sabotage("a run of another cell is written on", RUNS, "            self._forget(number)\n", "            pass\n"),
    Sabotage(
        "a stale score counts", ATTEMPTS, "return number in self._live and self._live[number].attempt == attempt", "return True"
    ),
    Sabotage(
        "a trial that failed is not tried again",
        ATTEMPTS,
        "self._again.popleft() if self._again else self._study.propose()",
        "self._study.propose()",
    ),
    Sabotage("a large trial is not tried again", ATTEMPTS, "if proposed is None and self._last:", NEVER),
    Sabotage(
        "a retry begins without its checkpoint",
        ATTEMPTS,
        "        live.attempt = None\n",
        "        live.attempt = None\n"
        "        forget_checkpoint(self._checkpoints / self._study.record.checkpoint_name(number))\n",
    ),
    Sabotage("a node drains and takes its checkpoints along", TRIAL, "            self._leave()\n", "            pass\n"),
    Sabotage(
        "the further checkpoint is not taken",
        "search.running.kept_checkpoint",
        "scores_in(stored) > scores_in(checkpoint)",
        "scores_in(stored) < scores_in(checkpoint)",
    ),
    Sabotage("a complete search leaves checkpoints", RUN, "        forget_checkpoints(checkpoints)\n", "        pass\n"),
)


@contextmanager
def sabotaged(sabotage: Sabotage) -> Iterator[None]:
    """Within, the functions of the module do what its changed text says."""
    module = importlib.import_module(sabotage.module)
    text = inspect.getsource(module)
    assert text.count(sabotage.old) == 1, f"{sabotage.what}: {text.count(sabotage.old)} times in {sabotage.module}"
    changed = ModuleType(sabotage.module)
    changed.__dict__.update(__file__=module.__file__, __package__=module.__package__)
    exec(compile(text.replace(sabotage.old, sabotage.new), str(module.__file__), "exec"), changed.__dict__)
    codes = [(function, other.__code__) for function, other in _pairs(vars(module), vars(changed), sabotage.module)]
    originals = [(function, function.__code__) for function, _ in codes]
    for function, code in codes:
        function.__code__ = code
    try:
        yield
    finally:
        for function, code in originals:
            function.__code__ = code


def caught(sabotage: Sabotage, seeds: int) -> Lived | None:
    """The first life that notices."""
    with sabotaged(sabotage):
        return next((lived for lived in map(live, range(seeds)) if lived.broken), None)


def _pairs(names: Any, others: Any, module: str) -> Iterator[tuple[FunctionType, FunctionType]]:
    """The functions of a module or class, each with the one that takes its place."""
    for name, value in list(names.items()):
        ours, theirs = _plain(value), _plain(others.get(name))
        if isinstance(ours, FunctionType) and isinstance(theirs, FunctionType) and ours.__module__ == module:
            yield ours, theirs
        elif isinstance(ours, type) and isinstance(theirs, type) and ours.__module__ == module:
            yield from _pairs(vars(ours), vars(theirs), module)


def _plain(value: Any) -> Any:
    """The function of a property."""
    return getattr(value, "fget", None) or getattr(value, "func", None) or value
