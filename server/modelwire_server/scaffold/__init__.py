"""The beginning of a runner's project, and the example that the demo shows."""

from pathlib import Path
from string import Template

HERE = Path(__file__).parent
PROJECT = HERE / "project"
SUFFIX = ".template"


def write_project(folder: Path, name: str) -> list[Path]:
    """Writes the project of a runner with this id, and says which files it has. Raises FileExistsError and other OSErrors."""
    module = name.replace("-", "_")
    words = {"name": name, "module": module, "title": name.replace("-", " ").capitalize()}
    folder.mkdir(parents=True)
    written = []
    for template in sorted(PROJECT.rglob(f"*{SUFFIX}")):
        place = str(template.relative_to(PROJECT)).removesuffix(SUFFIX).replace("MODULE", module)
        file = folder / place
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(Template(template.read_text(encoding="utf-8")).substitute(words), encoding="utf-8")
        written.append(file)
    return written


def example() -> Path:
    """The file of the example runner: in an installed package beside this module, in a checkout among the examples."""
    installed = HERE / "diabetes.py"
    return installed if installed.exists() else HERE.parents[2] / "examples" / "diabetes.py"
