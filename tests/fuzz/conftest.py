"""The modules beside this file can be imported by name: ``benchmarks/fuzz.py`` uses them too."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
