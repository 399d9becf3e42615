"""Servers that share a database and content act as one, whichever of them is asked, and when one of them is gone."""

import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from serving import RUNNERS, ServerProcess
from storages import POSTGRESQL_AND_FILES, POSTGRESQL_AND_OBJECTS, StorageUrls, new_storage

from modelwire import Client, Job, JobFailed, Model, NotFound
from modelwire.events import Event, ProgressEvent, StateEvent

DATA = {"x": [1.0, 2.0, 3.0]}
TARGETS = [f"{RUNNERS / 'behaviours.py'}:{name}" for name in ("runner", "lasting", "single")]


@dataclass
class Pair:
    """Two servers with one slot each, and a client of each."""

    storage: StorageUrls
    first: ServerProcess
    second: ServerProcess
    to_first: Client
    to_second: Client

    @property
    def servers(self) -> tuple[ServerProcess, ServerProcess]:
        return self.first, self.second

    def at_work(self, job: Job) -> tuple[ServerProcess, Client]:
        """The server that runs the job, and a client of the other one."""
        (holder,) = runs_on(job, *self.servers)
        return holder, self.to_second if holder is self.first else self.to_first


@contextmanager
def two_servers(storage: StorageUrls, folder: Path) -> Iterator[Pair]:
    options = {"max_jobs": 1, "lease_seconds": 2, "drain_seconds": 1, **vars(storage)}
    servers = [ServerProcess(*TARGETS, data_dir=folder / name, **options) for name in ("first", "second")]
    with ExitStack() as stack:
        for server in servers:
            stack.callback(server.stop)
        with ThreadPoolExecutor() as threads:
            list(threads.map(ServerProcess.start, servers))
        yield Pair(storage, *servers, *[stack.enter_context(Client(server.target)) for server in servers])


@pytest.fixture(scope="module", params=[POSTGRESQL_AND_FILES, POSTGRESQL_AND_OBJECTS])
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    """Servers for tests that do them no harm."""
    folder = tmp_path_factory.mktemp("pair")
    with new_storage(request.param, request) as urls:
        shared = StorageUrls(urls.database_url, urls.blobs_url or str(folder / "content"))
        with two_servers(shared, folder) as both:
            yield both


@pytest.fixture
def own_pair(postgres_url: str, tmp_path: Path) -> Iterator[Pair]:
    """Servers for a test that ends one of them."""
    with two_servers(StorageUrls(postgres_url, str(tmp_path / "content")), tmp_path) as both:
        yield both


def submit(client: Client, *, runner: str = "behaviours", priority: int = 0, **config: object) -> Job:
    return client.train(client.configs.create("test", config, runner=runner), DATA, priority=priority)


def busy(client: Client, gate: Path, *, runner: str = "behaviours") -> Job:
    """A job at work behind the gate."""
    job = submit(client, runner=runner, behaviour="gate", gate=str(gate))
    until_working(job)
    return job


def until_working(job: Job) -> None:
    next(event for event in job.watch() if isinstance(event, ProgressEvent))


def open_gate(gate: Path) -> None:
    gate.write_text("")


def runs_on(job: Job, *servers: ServerProcess) -> list[ServerProcess]:
    """The servers that began with the job."""
    return [server for server in servers if any(job.id in line and "job started" in line for line in server.output().splitlines())]


def watched(client: Client, job: Job) -> list[Event]:
    events = list(client.jobs.get(job.id).watch())
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    return events


def test_a_job_runs_wherever_there_is_room_and_is_seen_everywhere(pair: Pair, gate: Path) -> None:
    held = busy(pair.to_first, gate)
    holder, _ = pair.at_work(held)
    # One of the two is submitted to the server that has no room.
    for client in (pair.to_first, pair.to_second):
        job = submit(client, behaviour="chatty", lines=50)
        assert watched(pair.to_first, job) == watched(pair.to_second, job)
        (other,) = runs_on(job, *pair.servers)
        assert other is not holder

    open_gate(gate)
    assert watched(pair.to_first, held) == watched(pair.to_second, held)


def test_watchers_everywhere_see_a_job_while_it_runs(pair: Pair, gate: Path) -> None:
    job = submit(pair.to_first, behaviour="gate", gate=str(gate))
    for client in (pair.to_first, pair.to_second):
        until_working(client.jobs.get(job.id))
    open_gate(gate)
    assert job.wait(timeout=30)


def test_a_job_is_canceled_through_any_server(pair: Pair, gate: Path) -> None:
    job = busy(pair.to_first, gate)
    for client in (pair.to_second, pair.to_first):
        client.jobs.cancel(job.id)
    last = watched(pair.to_second, job)[-1]
    assert isinstance(last, StateEvent)
    assert last.status == "canceled"


def test_a_model_is_used_everywhere_until_it_is_deleted_anywhere(pair: Pair) -> None:
    model = submit(pair.to_first, behaviour="mean").wait(timeout=30)
    for client in (pair.to_first, pair.to_second):
        assert client.models.get(model.id).predict({"x": [5.0]}).to_pydict() == {"x": [5.0]}
    here, there = pair.to_first.models.get(model.id), pair.to_second.models.get(model.id)
    pair.to_first.artifacts.delete(model.id)
    with pytest.raises(NotFound):
        here.predict({"x": [5.0]})
    # The other server is told, which takes a moment.
    with pytest.raises(NotFound):
        predict_again_and_again(there)


def predict_again_and_again(model: Model) -> None:
    for _ in range(2000):
        model.predict({"x": [5.0]})


def test_what_a_killed_server_worked_on_is_taken_over(own_pair: Pair, gate: Path) -> None:
    job = busy(own_pair.to_first, gate, runner="lasting")
    holder, to_other = own_pair.at_work(job)
    holder.kill()
    progress = (event for event in to_other.jobs.get(job.id).watch() if isinstance(event, ProgressEvent))
    next(progress), next(progress)
    open_gate(gate)
    last = watched(to_other, job)[-1]
    assert isinstance(last, StateEvent)
    assert (last.status, to_other.jobs.get(job.id).attempt) == ("completed", 2)


def test_what_a_killed_server_worked_on_fails_if_it_may_not_run_again(own_pair: Pair, gate: Path) -> None:
    job = busy(own_pair.to_first, gate)
    holder, to_other = own_pair.at_work(job)
    holder.kill()
    with pytest.raises(JobFailed) as failure:
        to_other.jobs.get(job.id).wait(timeout=30)
    assert failure.value.reason == "WORKER_LOST"


def test_a_server_that_was_only_silent_does_not_finish_what_is_in_other_hands(own_pair: Pair, gate: Path) -> None:
    job = busy(own_pair.to_first, gate, runner="lasting")
    holder, to_other = own_pair.at_work(job)
    holder.process.send_signal(signal.SIGSTOP)
    progress = (event for event in to_other.jobs.get(job.id).watch() if isinstance(event, ProgressEvent))
    next(progress), next(progress)
    # Both attempts go on: that of the silent server ends first, and counts for nothing.
    holder.process.send_signal(signal.SIGCONT)
    open_gate(gate)
    model = to_other.jobs.get(job.id).wait(timeout=30)
    events = watched(to_other, job)
    assert [event.status for event in events if isinstance(event, StateEvent)].count("completed") == 1
    assert [one.id for one in to_other.models.list()] == [model.id]


def test_a_server_that_shuts_down_hands_its_jobs_over(own_pair: Pair, gate: Path) -> None:
    job = busy(own_pair.to_first, gate)
    holder, to_other = own_pair.at_work(job)
    progress = (event for event in to_other.jobs.get(job.id).watch() if isinstance(event, ProgressEvent))
    next(progress)
    assert holder.stop() == 0
    next(progress)
    open_gate(gate)
    assert to_other.jobs.get(job.id).wait(timeout=30)


def test_limits_hold_across_servers(pair: Pair, tmp_path: Path) -> None:
    clients = (pair.to_first, pair.to_second)
    jobs = [submit(client, runner="single", behaviour="alone", marker=str(tmp_path / "lock")) for client in clients * 2]
    for job in jobs:
        assert job.wait(timeout=30)


def test_wake_ups_may_get_lost(pair: Pair, gate: Path) -> None:
    """Every connection is cut while a job runs and two are watching."""
    job = busy(pair.to_first, gate)
    seen: list[list[Event]] = []
    watchers = [
        threading.Thread(target=lambda c=client: seen.append(watched(c, job))) for client in (pair.to_first, pair.to_second)
    ]
    for watcher in watchers:
        watcher.start()
    with psycopg.connect(pair.storage.database_url) as connection:
        cut = (
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        assert connection.execute(cut).rowcount > 0
    open_gate(gate)
    for watcher in watchers:
        watcher.join(timeout=30)
    assert len(seen) == 2
    assert seen[0] == seen[1]
    assert submit(pair.to_second, behaviour="mean").wait(timeout=30)
