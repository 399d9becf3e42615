"""The beginning of a runner's project, and the example that the demo shows."""

import shutil
from enum import StrEnum
from pathlib import Path
from string import Template

HERE = Path(__file__).parent
SUFFIX = ".template"


class Language(StrEnum):
    """What the scripts of a new project are written in. The value is the folder of its files."""

    PYTHON = "python"
    R = "r"
    SHELL = "shell"


def write_project(folder: Path, name: str, language: Language = Language.PYTHON) -> list[Path]:
    """Writes the project of a runner with this id, and says which files it has. Raises FileExistsError and other OSErrors.

    Files whose name ends in `.template` are filled in; the others are copied as they are.
    """
    module = name.replace("-", "_")
    words = {"name": name, "module": module, "title": name.replace("-", " ").capitalize()}
    folder.mkdir(parents=True)
    written = []
    sources = HERE / language
    for source in sorted(path for path in sources.rglob("*") if path.is_file()):
        file = folder / str(source.relative_to(sources)).removesuffix(SUFFIX).replace("MODULE", module)
        file.parent.mkdir(parents=True, exist_ok=True)
        if source.suffix == SUFFIX:
            file.write_text(Template(source.read_text(encoding="utf-8")).substitute(words), encoding="utf-8")
        else:
            shutil.copyfile(source, file)
        written.append(file)
    return written


def example() -> Path:
    """The file of the example runner: in an installed package beside this module, in a checkout among the examples."""
    installed = HERE / "diabetes.py"
    return installed if installed.exists() else HERE.parents[2] / "examples" / "diabetes.py"
