"""Every file that is read, damaged in every way that files are: what comes of it is its content, or one error that names it."""

import gzip
import json
from collections.abc import Callable, Container
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save_file
from scipy.io import savemat
from torch import nn

from data.cache.files import FORMAT, MANIFEST, read_manifest
from data.datasets.image_files import read_image, size_px
from data.datasets.label_files import read_label_colors, read_label_image
from data.datasets.lists import read_class_list, read_list
from data.datasets.matlab import read_voc_labels
from data.digests import FileDigests
from data.system.errors import UserError
from data.system.json_file import remembered
from data.system.outputs import MADE, check_free
from models.backbone_check import check_backbone
from models.kernels.shapes import choose
from models.segmenter import Segmenter
from models.settings import BackboneChoice, BackboneSettings, CellSettings
from models.spec import CellSpec
from search.config import load
from search.deciding.algorithms.listed import listed_in
from search.findings.contributions import model_contributions
from search.journal.lines import read_events
from tests.search.journal.studies import journalled, plan
from training.checkpoint import load_checkpoint, read_metadata

CELL = [{"op": "conv", "kernel": 1, "input": -1}]
SEEN = {"file": "seen.json", "bytes": 0, "sha256": ""}
MANIFESTED = {"format": FORMAT, "key": {}, "info": {}, "channels": 1, "height": 1, "width": 1, "shards": [], "seen": SEEN}


def as_text(text):
    return lambda path: path.write_text(text)


def as_image(path):
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(path, "PNG")


def as_colors(path):
    Image.fromarray(np.zeros((9, 9, 3), np.uint8)).save(path, "PNG")


def as_matlab(path):
    savemat(path, {"GTcls": {"Segmentation": np.zeros((9, 9), np.uint8)}})


def as_tensors(path):
    save_file({"a": np.zeros(3, np.float32)}, path, {"json": "{}", "config": "{}"})


def as_model(path):
    settings = CellSettings(filters=2)
    cell = CellSpec.from_json(CELL)
    Segmenter(cell, 2, BackboneSettings("local"), settings).save_pretrained(path.parent)


def what_was_made(path):
    """Nothing damaged lets a command write over what is somebody's."""
    (path.parent / "a").touch()
    with pytest.raises(UserError, match="was not made by dpc cell"):
        check_free("json", path.with_name("a"), "cell", False)


def as_journal(path):
    journalled(path, plan(2))


def as_packed_journal(path):
    as_journal(path.with_suffix(".plain"))
    path.write_bytes(gzip.compress(path.with_suffix(".plain").read_bytes()))


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def put(content):
    return lambda path: path.write_bytes(content)


def in_utf_16(path):
    path.write_bytes(path.read_bytes().decode("latin-1").encode("utf-16"))


def with_mark(path):
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())


def with_windows_lines(path):
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))


def as_folder(path):
    path.unlink()
    path.mkdir()


def as_link_to_itself(path):
    path.unlink()
    path.symlink_to(path)


DAMAGES = {
    "empty": put(b""),
    "cut": cut,
    "zeros": put(b"\0" * 4096),
    "noise": put(np.random.default_rng(0).bytes(4096)),
    "another type": put(b"\x89PNG\r\n\x1a\n" + b"x" * 100),
    "a number": put(b"3\n"),
    "a list": put(b"[1, 2]\n"),
    "a mapping": put(b'{"a": {"b": [1]}}\n'),
    "a text": put(b'"text"\n'),
    "null": put(b"null\n"),
    "nested": put(b"[" * 100_000),
    "Latin 1": put("Stra\xdfe".encode("latin-1")),
    "UTF-16": in_utf_16,
    "a byte order mark": with_mark,
    "lines of Windows": with_windows_lines,
    "a folder": as_folder,
    "missing": Path.unlink,
    "unreadable": as_link_to_itself,
}
MARKS = ("a byte order mark", "lines of Windows")
"""Editors of Windows leave them in texts."""
ANY = DAMAGES.keys()
"""Of what is only remembered, and made anew; an interrupted training begins anew."""


@dataclass(frozen=True)
class Format:
    """A file that is read.

    Attributes:
        make: writes a good one.
        read: reads it.
        name: of the file.
        is_text: a person may have edited it, on any system.
        reads: damages that it may be read with: other texts of the same kind, or what counts as absent.
    """

    make: Callable[[Path], Any]
    read: Callable[[Path], Any]
    name: str
    is_text: bool = False
    reads: Container[str] = ()


TEXTS = ("cut", "a number", "a list", "a mapping", "a text", "null", "nested")
TORN = ("empty", "missing", "zeros", "Latin 1", "unreadable", *TEXTS)
"""A journal's last line that a kill left; no journal has begun."""
FORMATS = {
    "journal": Format(as_journal, read_events, "journal.jsonl", reads=TORN),
    "packed journal": Format(as_packed_journal, read_events, "journal.jsonl.gz", reads=("empty", "missing", "unreadable")),
    "cell": Format(as_text(json.dumps(CELL)), CellSpec.read, "cell.json", is_text=True),
    "listed cells": Format(as_text(json.dumps([CELL])), listed_in, "cells.json", is_text=True),
    "manifest": Format(as_text(json.dumps(MANIFESTED)), lambda path: read_manifest(path.parent), MANIFEST, is_text=True),
    "classes": Format(as_text("cat\ndog\n"), read_class_list, "classes.txt", is_text=True, reads=("empty", *TEXTS)),
    "colours": Format(as_text("cat 1 2 3\ndog 4 5 6\n"), read_class_list, "classes.txt", is_text=True, reads=("empty", *TEXTS)),
    "list": Format(
        as_text("a.png b.png\n"), lambda path: read_list(path, 2, "image labels"), "train.txt", is_text=True, reads=("a list",)
    ),
    "image": Format(as_colors, read_image, "image.png"),
    "size of an image": Format(as_colors, size_px, "image.png", reads=("cut",)),
    "labels": Format(as_image, read_label_image, "labels.png"),
    "coloured labels": Format(as_colors, read_label_colors, "labels.png"),
    "SBD's labels": Format(as_matlab, read_voc_labels, "labels.mat"),
    "weights": Format(as_tensors, lambda path: check_backbone(BackboneChoice("local", weights=str(path))), "w.safetensors"),
    "model": Format(as_model, lambda path: Segmenter.from_pretrained(path.parent), "model.safetensors"),
    "model's contributions": Format(as_model, model_contributions, "model.safetensors"),
    "checkpoint": Format(as_tensors, lambda path: load_checkpoint(path, nn.Identity(), ()), "state.safetensors", reads=ANY),
    "checkpoint's scores": Format(as_tensors, read_metadata, "state.safetensors", reads=ANY),
    "experiment": Format(
        as_text("# @package _global_\ntrials: 3\n"),
        lambda path: load("search", ["experiment=mine"], str(path.parents[1])),
        "experiment/mine.yaml",
        reads=("lines of Windows",),
    ),
    "remembered digests": Format(as_text("{}"), lambda path: FileDigests(path).of([]), "digests.json", reads=ANY),
    "what was found out": Format(as_text("{}"), lambda path: remembered(path, {}, lambda: 1), "labels.json", reads=ANY),
    "shapes of kernels": Format(as_text("{}"), lambda path: choose({}, path), "shapes.json", reads=ANY),
    "what was made": Format(as_text("{}"), what_was_made, MADE, reads=ANY),
}


def outcome(read, path):
    """What came of a file: ``read``, ``refused`` by an error that names it or its folder, or what was said instead."""
    try:
        read(path)
    except (UserError, OSError) as error:
        told = " ".join(str(error).split())
        return "refused" if path.stem in told or str(path.parent) in told else f"an error that does not name it: {told}"
    except Exception as error:
        return f"{type(error).__name__}: {error}"[:200]
    return "read"


@pytest.mark.parametrize("kind", FORMATS)
def test_a_damaged_file_is_an_error_that_names_it(tmp_path, kind):
    of, faults = FORMATS[kind], {}
    for place, (damage, do) in enumerate(DAMAGES.items()):
        path = tmp_path / str(place) / of.name
        path.parent.mkdir(parents=True)
        of.make(path)
        good = path.read_bytes()
        do(path)
        is_good = path.is_file() and path.read_bytes() == good
        may_be_read = is_good or damage in of.reads or (damage in MARKS and of.is_text)
        must_be_read = is_good or (damage in MARKS and of.is_text)
        came = outcome(of.read, path)
        if came not in ([] if must_be_read else ["refused"]) + (["read"] if may_be_read else []):
            faults[damage] = came
    assert faults == {}
