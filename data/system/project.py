"""Where this project lies on disk."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
"""The folder that holds conf/ and this project's packages. ``dpc`` works it out itself, to find these packages at all."""
