"""The command ``dpc``, which finds this project's packages before others of their names."""

import sys
from pathlib import Path

from dpc import ROOT


def main() -> int:
    """As ``search.cli.main``; what a ``_target_`` names may lie in the folder that the command is given in."""
    sys.path.insert(0, str(ROOT))
    sys.path.append(str(Path.cwd()))
    from search.cli import main as run  # noqa: PLC0415 - only now is it surely ours

    return run()


if __name__ == "__main__":
    sys.exit(main())
