"""Looks whether everything that was ever promised is still there, and as it was."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ..artifacts import store as artifact_store
from ..artifacts.blobs.interface import BlobStore
from ..artifacts.garbage import read_workspace
from ..database.engine import Database, Transaction
from ..database.export import table_names
from ..errors import ContentCorrupted
from . import store
from .alone import PATIENCE_SECONDS, alone
from .each import Report, for_each, silent


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong. `subject` is a digest, or `artifact` or `job` with an id."""

    subject: str
    problem: str


@dataclass(slots=True)
class Check:
    """One thing that was looked at: how many there are, and what is wrong with them."""

    name: str
    count: int = 0
    findings: list[Finding] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Verified:
    """All that was looked at. `unused` says how much content nothing refers to; that is not wrong, it goes in time."""

    checks: Sequence[Check]
    unused: int = 0

    @property
    def is_good(self) -> bool:
        return not any(check.findings for check in self.checks)


@dataclass(frozen=True, slots=True)
class _State:
    """One state of the database, as far as it matters here. `users` says for each digest who refers to it."""

    references: artifact_store.References
    users: Mapping[str, Sequence[str]]
    sizes: Sequence[tuple[str, str, int]]
    checks: Sequence[Check]


async def verify(database: Database, blobs: BlobStore, report: Report = silent) -> Verified:
    """Reads everything and compares it with what was recorded; nothing is deleted meanwhile. Raises Refused, StorageUnavailable."""
    async with alone(database, patience=PATIENCE_SECONDS):
        state = await database.snapshot(_read)
        stored = {blob.digest: blob.size async for blob in blobs.entries()}
        workspaces, users = await _check_workspaces(blobs, state, report)
        content = await _check_content(blobs, stored, users, report)
    content.findings += _wrong_sizes(state.sizes, stored)
    return Verified([content, workspaces, *state.checks], unused=len(stored.keys() - users.keys()))


def _read(tx: Transaction) -> _State:
    users: defaultdict[str, list[str]] = defaultdict(list)
    for digest, user in store.users_of_content(tx):
        users[digest].append(user)
    checks = [
        Check("trees of artifacts", store.count(tx, "artifacts"), _findings(store.broken_trees(tx))),
        Check("event logs of jobs", store.count(tx, "jobs"), _findings(store.broken_logs(tx))),
        Check("rows in the database", sum(store.count(tx, name) for name in table_names()), _findings(store.broken_rows(tx))),
    ]
    return _State(artifact_store.references(tx), users, store.sizes_of_content(tx), checks)


def _findings(found: Iterable[tuple[str, str]]) -> list[Finding]:
    return [Finding(subject, problem) for subject, problem in found]


async def _check_workspaces(blobs: BlobStore, state: _State, report: Report) -> tuple[Check, dict[str, list[str]]]:
    """Whether the lists of files can be read; also all users of content, the lists among them."""
    check = Check("lists of workspaces' files")
    users = {digest: list(found) for digest, found in state.users.items()}

    async def look(digest: str) -> None:
        try:
            workspace = await read_workspace(blobs, digest)
        except ContentCorrupted as error:
            check.findings.append(Finding(digest, f"{error.message}; needed by {_named(state.users[digest])}"))
            return
        for file in workspace.files if workspace else ():
            users.setdefault(file.digest, []).append(f"{file.path} of {_named(state.users[digest])}")
        check.count += workspace is not None

    await for_each(sorted(state.references.workspaces), look, report, "workspaces")
    return check, users


async def _check_content(blobs: BlobStore, stored: Mapping[str, int], users: Mapping[str, Sequence[str]], report: Report) -> Check:
    """Whether all content that is stored or referred to has its digest."""
    check = Check("content", len(stored))

    async def look(digest: str) -> None:
        if not await blobs.verify(digest):
            problem = "its bytes are not what was stored" if digest in stored else "is missing"
            check.findings.append(Finding(digest, f"{problem}; needed by {_named(users.get(digest, ()))}"))

    await for_each(sorted(stored.keys() | users.keys()), look, report, "content")
    return check


def _wrong_sizes(sizes: Sequence[tuple[str, str, int]], stored: Mapping[str, int]) -> Iterator[Finding]:
    for artifact_id, digest, size in sizes:
        if stored.get(digest, size) != size:
            yield Finding(f"artifact {artifact_id}", f"has {stored[digest]} bytes of content, {size} are recorded")


def _named(users: Sequence[str]) -> str:
    """A few of the users."""
    more = f" and {len(users) - 3} more" if len(users) > 3 else ""
    return ", ".join(users[:3]) + more or "nothing"
