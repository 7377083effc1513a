"""Who may do what at a head: Ray's own answers, which docs/cluster.md relies on, and what `dpc submit` adds to them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import requests

from cluster.jobs_api import SubmitError, connect

JOB = {"entrypoint": "true"}
BROWSER = {"User-Agent": "Mozilla/5.0", "Origin": "http://evil.example"}


@pytest.mark.parametrize("path", ["/api/jobs/", "/api/version", "/api/cluster_status", "/nodes?view=summary"])
def test_a_request_without_the_token_is_refused_with_401_and_one_with_another_token_with_403(token_head, path):
    for headers, answer in (({}, 401), ({"Authorization": "Bearer of-another"}, 403)):
        assert requests.get(f"{token_head.dashboard_url}{path}", headers=headers, timeout=10).status_code == answer
    assert requests.post(f"{token_head.dashboard_url}/api/jobs/", json=JOB, timeout=10).status_code == 401
    assert requests.get(f"{token_head.dashboard_url}{path}", headers=bearer(token_head), timeout=10).ok


def test_a_forged_host_gains_nothing_the_token_decides_and_browsers_may_only_read(token_head):
    jobs = f"{token_head.dashboard_url}/api/jobs/"
    forged = {"Host": "evil.example"}
    assert requests.get(jobs, headers=forged, timeout=10).status_code == 401
    assert requests.get(jobs, headers=forged | bearer(token_head), timeout=10).ok, "Ray does not look at Host"
    rebinding = forged | BROWSER | bearer(token_head)
    assert requests.post(jobs, headers=rebinding, json=JOB, timeout=10).status_code == 405


def test_the_dashboard_listens_on_this_machine_alone(token_head):
    port = f":{int(token_head.dashboard_url.rpartition(':')[2]):04X}"
    sockets = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    bound = {local.removesuffix(port) for _, local, _, state, *_ in sockets if state == "0A" and local.endswith(port)}
    assert bound == {"0100007F"}


def test_submit_to_another_address_needs_the_token_which_then_stands_in_no_log(token_head):
    """0.0.0.0 leads to this machine, and is no loopback address."""
    address = token_head.dashboard_url.replace("127.0.0.1", "0.0.0.0")
    refused = dpc("submit", f"address={address}", "--", "cell", "cell=aspp")
    assert refused.returncode == 2
    assert refused.stderr.count("\n") == 1
    assert "set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN" in refused.stderr

    with_token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": token_head.token}
    sent = dpc("submit", f"address={address}", "job=remote", "--", "cell", "cell=aspp", **with_token)
    asked = dpc("submit", f"address={address}", "status=remote", **with_token)
    assert (sent.returncode, asked.returncode) == (0, 0), sent.stdout + sent.stderr + asked.stderr
    assert "remote  succeeded" in asked.stdout
    for output in (sent, asked):
        assert token_head.token not in output.stdout + output.stderr
    logs = [path for path in (token_head.folder / "session_latest" / "logs").rglob("*") if path.is_file()]
    assert any("remote" in path.name for path in logs)
    assert [path.name for path in logs if token_head.token.encode() in path.read_bytes()] == []


def test_submit_refuses_another_machine_that_asks_for_no_token(ray_head, monkeypatch):
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "x" * 32)
    with pytest.raises(SubmitError, match="asks for no token, so anyone who reaches it runs code there"):
        connect(ray_head.dashboard_url.replace("127.0.0.1", "0.0.0.0"))


@pytest.mark.parametrize("mode", ["", "disabled", "token"])
def test_submit_without_a_token_sends_another_machine_nothing(tmp_path, monkeypatch, mode):
    monkeypatch.setenv("RAY_AUTH_MODE", mode)
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "absent"))
    with pytest.raises(SubmitError, match="a token is needed: set RAY_AUTH_MODE=token"):
        connect("http://192.0.2.1:8265")


def test_a_password_in_an_address_is_refused_and_not_repeated():
    with pytest.raises(SubmitError, match="without a user or password") as refusal:
        connect("http://me:hunter2@127.0.0.1:8265")
    assert "hunter2" not in str(refusal.value)


def bearer(head) -> dict[str, str]:
    return {"Authorization": f"Bearer {head.token}"}


def dpc(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")} | variables
    command = [sys.executable, "-m", "search.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=environment)
