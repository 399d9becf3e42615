import sys
from pathlib import Path

# Servers in processes of their own, and readers of pages.
sys.path[:0] = [str(Path(__file__).parents[1] / folder) for folder in ("acceptance", "project")]
