"""`make bench`: every benchmark of this folder, one after the other, with its defaults."""

import pkgutil
import subprocess
import sys
from pathlib import Path


def main() -> int:
    """0 if all ran; else how many failed."""
    names = sorted(module.name for module in pkgutil.iter_modules([str(Path(__file__).parent)]))
    failed = 0
    for name in names:
        if not name.startswith("_"):
            print(f"== {name}", flush=True)
            failed += subprocess.run([sys.executable, "-m", f"bench.{name}"]).returncode != 0
    return failed


if __name__ == "__main__":
    sys.exit(main())
