import os
import pickle
import socket
import subprocess
import sys
from uuid import uuid4

import pytest

from data.store import Store, StoreError

PASSWORD = "pa55word"


@pytest.fixture(params=["s3", "file", "fsspec"])
def store(request, tmp_path):
    """An empty folder of a store of each kind."""
    match request.param:
        case "s3":
            return Store(request.getfixturevalue("s3_server").uri(uuid4().hex)) / "search"
        case "file":
            return Store(f"file://{tmp_path}/store") / "search"
        case _:
            return Store(f"fsspec+memory://{uuid4().hex}") / "search"


def closed_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def test_what_is_written_is_listed_read_replaced_and_deleted(store):
    store.write("b", b"first")
    store.write("a", b"")
    store.write("b", b"second")
    assert store.names() == ["a", "b"]
    assert (store.read("a"), store.read("b")) == (b"", b"second")
    store.delete("b")
    assert store.names() == ["a"]


def test_what_is_not_there_is_no_error(store, tmp_path):
    assert store.names() == []
    assert store.read("none") is None
    assert not store.download("none", tmp_path / "none")
    assert not (tmp_path / "none").exists()
    store.delete("none")


@pytest.mark.parametrize("size", [0, 1, 12_000_000])
def test_a_file_comes_back_as_it_went(store, tmp_path, size):
    content = bytes(range(251)) * (size // 251) + bytes(size % 251)
    (tmp_path / "up").write_bytes(content)
    store.upload(tmp_path / "up", "file")
    assert store.download("file", tmp_path / "new" / "down")
    assert (tmp_path / "new" / "down").read_bytes() == content
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["down"]


def test_a_folder_lists_its_own_files_alone(store):
    store.write("file", b"")
    (store / "below").write("other", b"")
    assert store.names() == ["file"]
    assert (store / "below").names() == ["other"]


def test_a_store_crosses_to_another_process(store):
    (pickle.loads(pickle.dumps(store)) / "below").write("file", b"content")
    assert (store / "below").read("file") == b"content"


def test_a_check_leaves_nothing_behind(store):
    store.check()
    assert store.names() == []


def test_a_part_that_a_kill_left_on_a_disk_is_not_listed(tmp_path):
    store = Store(f"file://{tmp_path}")
    (tmp_path / "name.123.partial").write_bytes(b"half")
    assert store.names() == []


@pytest.mark.parametrize(
    "uri",
    ["folder", "/folder", "http://host/folder", "s3://", "s3:///?region=x", "file://folder/below", "file:///", "fsspec+://x"],
)
def test_a_uri_that_names_no_store_is_refused_in_one_line(uri):
    with pytest.raises(ValueError, match=r"^store: .*accepted are s3://.*; got '.*'\.$"):
        Store(uri)


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        (f"s3://key:{PASSWORD}@bucket/folder?region={PASSWORD}", "s3://bucket/folder"),
        (f"abfs://container:{PASSWORD}@account.dfs.core.windows.net/x", "abfs://container@account.dfs.core.windows.net/x"),
        ("gs://bucket", "gs://bucket"),
    ],
)
def test_what_opens_a_store_is_not_shown(uri, shown):
    store = Store(uri)
    assert str(store) == shown
    assert str(store / "a" / "b") == f"{shown}/a/b"
    assert PASSWORD not in repr(store)
    with pytest.raises(ValueError, match="got") as refused:
        Store(uri.replace("://", "x://"))
    assert PASSWORD not in str(refused.value)


@pytest.mark.parametrize("trouble", ["no such bucket", "nothing answers", "no such protocol", "a file is in the way"])
def test_a_store_that_fails_says_where_and_why_in_one_line_without_secrets(s3_server, tmp_path, trouble):
    (tmp_path / "file").touch()
    port = closed_port()
    options = f"scheme=http&region=us-east-1&endpoint_override=127.0.0.1:{port}"
    uri, reason = {
        "no such bucket": (s3_server.uri("x").replace("bucket", "other"), "bucket does not exist"),
        "nothing answers": (f"s3://key:{PASSWORD}@bucket/x?{options}", "Could not connect"),
        "no such protocol": (f"fsspec+nonsense://user:{PASSWORD}@host/x", "nonsense"),
        "a file is in the way": (f"file://{tmp_path}/file", "file"),
    }[trouble]
    store = Store(uri)
    for use in (store.check, lambda: store.upload(tmp_path / "file", "name")):
        with pytest.raises(StoreError) as failed:
            use()
        text = str(failed.value)
        assert text.startswith(str(store))
        assert reason in text
        assert "\n" not in text
        assert PASSWORD not in text


def run(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)


def test_a_process_that_used_s3_ends_quietly(s3_server):
    code = f"from data.store import Store\nStore({s3_server.uri(uuid4().hex)!r}).check()"
    done = run(code)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_process_ends_while_a_store_does_not_answer():
    """pyarrow waits for what is under way when Python ends; with its own number of attempts, for an hour."""
    with socket.create_server(("127.0.0.1", 0)) as mute:
        uri = f"s3://key:x@bucket/x?scheme=http&region=us-east-1&endpoint_override=127.0.0.1:{mute.getsockname()[1]}"
        code = "import threading, time\nfrom data.store import Store\n"
        code += f"threading.Thread(target=Store({uri!r}).check, daemon=True).start()\ntime.sleep(0.5)"
        assert run(code).returncode == 0


def test_a_file_on_a_disk_is_replaced_and_never_written_in_place(tmp_path):
    place = Store(f"file://{tmp_path}/store")
    place.write("journal", b"first")
    os.link(tmp_path / "store" / "journal", tmp_path / "as a reader has it open")
    place.write("journal", b"second")
    assert (tmp_path / "as a reader has it open").read_bytes() == b"first"
    assert place.read("journal") == b"second"
