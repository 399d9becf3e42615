"""Writes the table of settings in docs/operations.md from server/modelwire_server/settings.py.

python scripts/generate_settings.py            # write the table
python scripts/generate_settings.py --check    # fail if it is not what the settings say
"""

import argparse
import re
from pathlib import Path
from typing import Any

from pydantic import ByteSize, SecretStr
from pydantic.fields import FieldInfo

from modelwire_server.settings import Settings

PAGE = Path(__file__).resolve().parent.parent / "docs" / "operations.md"
TABLE = re.compile(r"(?<=<!-- settings: written by scripts/generate_settings.py -->\n).*?(?=<!-- end of settings -->)", re.DOTALL)


def default_of(field: FieldInfo) -> str:
    if field.default_factory is not None:
        return "cores"
    value: Any = field.default
    if value in (None, "", []) or isinstance(value, SecretStr):
        return ""
    if isinstance(value, ByteSize):
        return f"`{value.human_readable(separator='').replace('.0', '')}`"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


def table() -> str:
    rows = [f"| `{name}` | {default_of(field)} | {field.description} |" for name, field in Settings.model_fields.items()]
    return "\n".join(["", "| setting | default | |", "| --- | --- | --- |", *rows, "", ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="compare with what is committed, write nothing")
    check = parser.parse_args().check
    page = PAGE.read_text(encoding="utf-8")
    fresh = TABLE.sub(lambda _: table(), page, count=1)
    if not check:
        PAGE.write_text(fresh, encoding="utf-8")
    elif fresh != page or not TABLE.search(page):
        raise SystemExit("the settings in docs/operations.md are stale. Run `make protos`.")


if __name__ == "__main__":
    main()
