"""What the standard library reads in our zip files."""

import io
import stat
import zipfile
import zlib
from datetime import UTC, datetime
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from modelwire_server.artifacts.zipping import Entry, after, before

TIME = datetime(2026, 5, 17, 13, 45, 58, tzinfo=UTC)
# zipfile ends names at a NUL, which no file has in its name.
NAMES = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=20)


@given(st.dictionaries(NAMES, st.tuples(st.binary(max_size=50), st.integers(0, 0o777)), max_size=5))
def test_entries_come_back(files: dict[str, tuple[bytes, int]]) -> None:
    made, known = io.BytesIO(), []
    for name, (content, mode) in files.items():
        entry = Entry(name, stat.S_IFREG | mode, len(content), zlib.crc32(content))
        known.append((entry, made.tell()))
        made.write(before(entry, TIME))
        made.write(content)
    made.write(after(known, TIME, made.tell()))
    with zipfile.ZipFile(made) as archive:
        assert archive.testzip() is None
        found = {info.filename: (archive.read(info), info.external_attr >> 16 & 0o777) for info in archive.infolist()}
        assert found == files
        assert all(info.date_time == (2026, 5, 17, 13, 45, 58) for info in archive.infolist())


def test_what_is_larger_than_the_old_format_can_say(tmp_path: Path) -> None:
    large = Entry("large", stat.S_IFREG | 0o644, 5 << 30, 0)
    small = Entry("small", stat.S_IFREG | 0o644, 5, zlib.crc32(b"small"))
    # Sparse: it takes no room.
    with (tmp_path / "made.zip").open("wb+") as file:
        file.write(before(large, TIME))
        file.seek(large.size, io.SEEK_CUR)
        second = file.tell()
        file.write(before(small, TIME) + b"small")
        file.write(after([(large, 0), (small, second)], TIME, file.tell()))
        with zipfile.ZipFile(file) as archive:
            assert archive.getinfo("large").file_size == 5 << 30
            assert archive.read("small") == b"small"
            with archive.open("large") as content:
                assert content.read(10) == bytes(10)
