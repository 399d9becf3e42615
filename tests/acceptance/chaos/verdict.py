"""Counts whether everything was kept that had been promised."""

import hashlib
import io
import json
import pickle
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
from rich.console import Console
from rich.table import Table

from modelwire import Client, Event, Job
from modelwire.events import ArtifactEvent, StateEvent
from modelwire.records import ArtifactRecord

from .plan import RUNNERS
from .storm import Service, Storm, Story

# What servers call an error: that their fork server was killed, and, in the words of gRPC, that a watcher's connection broke.
EXPECTED = ("fork server is lost", "fork server cannot start", "ExecuteBatchError")
MADE = {"train": "ml_training", "predict": "ml_prediction"}


@dataclass(slots=True)
class Check:
    """One promise: how often it was looked at, and where it was broken."""

    promise: str
    count: int = 0
    violations: list[str] = field(default_factory=list)

    def expect(self, kept: bool, otherwise: str) -> None:
        self.count += 1
        if not kept:
            self.violations.append(otherwise)


@dataclass(slots=True)
class Verdict:
    """All checks of a run, and how its jobs ended."""

    title: str
    checks: list[Check]
    statuses: Counter[str]
    attempts: int

    @property
    def is_good(self) -> bool:
        return not any(check.violations for check in self.checks)

    def show(self) -> None:
        table = Table("promise", "looked at", "broken", title=self.title, title_justify="left")
        for check in self.checks:
            table.add_row(check.promise, str(check.count), str(len(check.violations)))
        console = Console(width=120)
        console.print(table)
        told = ", ".join(f"{count} {status}" for status, count in sorted(self.statuses.items()))
        console.print(f"{told}; {self.attempts} attempts\n")
        for check in self.checks:
            for violation in check.violations[:20]:
                console.print(f"broken: {check.promise}: {violation}", markup=False)


def judge(storm: Storm, title: str, *, blobs: Path, mark: str) -> Verdict:
    """Checks everything while the servers are there, then stops them and checks what is left. `blobs` is the folder of all content,
    `mark` is in the environment of all processes."""
    checks: list[Check] = []

    def check(promise: str) -> Check:
        checks.append(Check(promise))
        return checks[-1]

    with storm.service.client() as client:
        jobs = {job.id: job for job in client.jobs.list()}
        logs = {job_id: list(client.jobs.watch(job_id)) for job_id, job in jobs.items() if job.status.is_final}
        artifacts = {artifact.id: artifact for artifact in client.artifacts.list()}
        check_submissions(check("each submission was accepted, once"), storm.stories, jobs)
        check_ends(check("every accepted job has ended, as it was meant to"), storm.stories, jobs)
        check_logs(check("every log is gapless from 1, with one final state, at its end"), jobs, logs)
        check_watchers(check("every watcher saw every event exactly once"), storm.stories, logs)
        check_artifacts(check("one artifact for each completed job, under the announced id"), jobs, logs, artifacts)
        check_contents(check("every artifact can be read, and is what its job was to make"), client, storm.stories, artifacts)
    check_processes(check("no process of an ended job is left"), storm.service, mark)
    for server in storm.service.servers:
        server.stop()
    check_blobs(check("every blob has its digest"), blobs, artifacts)
    check_scratch(check("no unfinished file is left"), blobs)
    check_servers(check("no server met an error that nobody expects"), storm.service)
    after = check("no process is left when the servers have stopped")
    after.expect(not (left := list(marked(mark))), f"{left}")
    statuses = Counter(job.status.value for job in jobs.values())
    return Verdict(title, checks, statuses, sum(job.attempt for job in jobs.values()))


def check_submissions(check: Check, stories: Sequence[Story], jobs: dict[str, Job[Any]]) -> None:
    for story in stories:
        check.expect(story.job is not None and story.job.id in jobs, f"{story.errand}: {story.troubles}")
    # Each runner made a model for the predictions before.
    expected = len(stories) + len(RUNNERS)
    check.expect(len(jobs) == expected, f"{len(jobs)} jobs for {expected} submissions")


def check_ends(check: Check, stories: Sequence[Story], jobs: dict[str, Job[Any]]) -> None:
    fitting = {"succeed": {"completed"}, "fail": {"failed"}, "cancel": {"canceled"}}
    for story in stories:
        if story.job and (job := jobs.get(story.job.id)):
            lost = job.status == "failed" and job.reason == "WORKER_LOST"
            kept = story.errand.runner == "fragile" if lost else job.status.value in fitting[story.errand.fate]
            check.expect(kept, f"{job.id} {job.status} {job.reason} {job.error} {story.errand}")


def check_logs(check: Check, jobs: dict[str, Job[Any]], logs: dict[str, list[Event]]) -> None:
    for job_id, events in logs.items():
        numbers = [event.sequence for event in events]
        finals = [event for event in events if isinstance(event, StateEvent) and event.status.is_final]
        gapless = numbers == list(range(1, jobs[job_id].last_sequence + 1))
        check.expect(gapless and finals == events[-1:], f"{job_id}: {numbers}, {len(finals)} final states")


def check_watchers(check: Check, stories: Sequence[Story], logs: dict[str, list[Event]]) -> None:
    for story in stories:
        if story.job:
            kept = story.watched_to_the_end and story.seen == logs.get(story.job.id) and not story.troubles
            seen = [event.sequence for event in story.seen]
            check.expect(kept, f"{story.job.id}: saw {seen} of {len(logs.get(story.job.id, ()))} {story.troubles}")


def check_artifacts(
    check: Check, jobs: dict[str, Job[Any]], logs: dict[str, list[Event]], artifacts: dict[str, ArtifactRecord]
) -> None:
    by_job: dict[str, list[ArtifactRecord]] = {job_id: [] for job_id in jobs}
    for artifact in artifacts.values():
        for edge in artifact.inputs:
            if edge.role == "job":
                by_job[edge.id].append(artifact)
    for job_id, made in by_job.items():
        job = jobs[job_id]
        there = sorted((artifact.type, artifact.id) for artifact in made)
        told = sorted((event.type, event.artifact_id) for event in logs.get(job_id, ()) if isinstance(event, ArtifactEvent))
        announced = [made_type for made_type, artifact_id in there if artifact_id == job.artifact_id]
        kept = there == told and [made_type for made_type, _ in there] == types_made(job) and announced == types_made(job)[:1]
        check.expect(kept, f"{job_id} {job.status}: there is {there}, told of {told}, announced {job.artifact_id}")


def types_made(job: Job[Any]) -> list[str]:
    """The types of what a job leaves, the announced one first: scripts leave their workspace beside predictions, or when they fail."""
    made, is_script = MADE[job.kind], job.runner_id == "scripts"
    if job.status == "completed":
        return [made, f"{made}_workspace"] if is_script and job.kind == "predict" else [made]
    return [f"{made}_workspace"] if is_script and job.status == "failed" and job.reason != "WORKER_LOST" else []


def check_contents(check: Check, client: Client, stories: Sequence[Story], artifacts: dict[str, ArtifactRecord]) -> None:
    errands = {story.job.artifact_id: story.errand for story in stories if story.job}
    for artifact in artifacts.values():
        try:
            content = client.artifacts.download(artifact.id)
            found = number_in(artifact, content)
        except Exception as error:
            check.expect(False, f"{artifact.id}: {error}")
            continue
        errand = errands.get(artifact.id)
        check.expect(errand is None or errand.number == found, f"{artifact.id} is of job {found}, not of {errand}")


def number_in(artifact: ArtifactRecord, content: bytes) -> int:
    """The number of the errand that an artifact is of."""
    if zipfile.is_zipfile(io.BytesIO(content)):
        name = "data.csv" if artifact.type.startswith("ml_training") else "future.csv"
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return int(archive.read(name).splitlines()[1].split(b",")[0])
    if artifact.type == "ml_training":
        return int(pickle.loads(content)["number"])
    return int(pa.ipc.open_stream(content).read_all()["number"][0].as_py())


def check_processes(check: Check, service: Service, mark: str) -> None:
    """Each server has its fork server, which keeps one process for the next job."""
    servers = [server.process for server in service.servers]
    forks = [child for server in servers for child in server.children()]
    spares = [child for fork in forks for child in fork.children()]
    known = {process.pid for process in (*servers, *forks, *spares)}
    for process in marked(mark):
        check.expect(process.pid in known, f"{process}")
    check.expect(len(spares) <= len(servers), f"{len(spares)} children of fork servers: {spares}")


def marked(mark: str) -> Iterator[psutil.Process]:
    """Processes that have the mark in their environment."""
    for process in psutil.process_iter():
        try:
            if mark in process.environ().values():
                yield process
        except psutil.Error:
            continue


def check_blobs(check: Check, blobs: Path, artifacts: dict[str, ArtifactRecord]) -> None:
    stored = set()
    for path in (blobs / "sha256").glob("??/*"):
        name = path.parent.name + path.name
        stored.add(f"sha256:{name}")
        check.expect(hashlib.sha256(path.read_bytes()).hexdigest() == name, f"{path} has another content")
    for artifact in artifacts.values():
        check.expect(not artifact.digest or artifact.digest in stored, f"the content of {artifact.id} is not there")


def check_scratch(check: Check, blobs: Path) -> None:
    check.count += 1
    check.violations.extend(str(path) for path in (blobs / "scratch").rglob("*"))


def check_servers(check: Check, service: Service) -> None:
    for server in service.servers:
        for line in server.output().splitlines():
            # A kill may have cut off a line.
            entry = json.loads(line) if line.startswith("{") and line.endswith("}") else {"level": "", "event": line}
            worried = entry["level"] in ("error", "critical") or entry["event"].startswith("Traceback")
            expected = entry["event"].startswith(EXPECTED)
            check.expect(expected or not worried, f"{server.data_dir.name}: {entry['event']}")
