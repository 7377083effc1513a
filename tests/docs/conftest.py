from unittest.mock import MagicMock

import pytest

from search.findings.leaderboard import write_leaderboard
from tests.docs import told_to_bash
from tests.search.conftest import undrawn, without_ray

__all__ = ["undrawn", "without_ray"]


@pytest.fixture
def commands(one_thread, undrawn, tmp_path, monkeypatch):
    """Runs blocks in an empty folder: cells are trained in this process, MLflow hears nothing, a cluster's job is a call."""
    monkeypatch.chdir(tmp_path)
    tracked = MagicMock(refused=False)
    tracked.__enter__.return_value, tracked.__exit__.return_value = tracked, False
    monkeypatch.setattr("search.commands.retrain.RetrainRun", lambda *_, **__: tracked)
    monkeypatch.setattr("search.commands.retrain.export_model", lambda *_: None)  # what it registers; pages export it as well
    monkeypatch.setattr(
        "search.session.results.write_results", lambda record, settings: write_leaderboard(record, settings.folder)
    )
    monkeypatch.setattr("search.commands.submit.submit", lambda command, *_, **__: told_to_bash.main(command))
    for question in ("status", "logs"):
        monkeypatch.setattr(f"search.commands.submit.{question}", lambda *_, **__: 0)
    return told_to_bash.run
