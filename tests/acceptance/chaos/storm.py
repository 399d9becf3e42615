"""Clients that submit, cancel and watch; servers that are killed and started again."""

import random
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from serving import ServerProcess

from modelwire import Client, Event, Job

from .plan import RUNNERS, Blow, Errand, Strike, errands, strikes

CLIENTS = 4
# Nothing in a run takes this long; what does has gone wrong.
LONGEST_SECONDS = 600.0


@dataclass(slots=True)
class Story:
    """What became of an errand, as its client saw it."""

    errand: Errand
    job: Job[Any] | None = None
    seen: list[Event] = field(default_factory=list)
    watched_to_the_end: bool = False
    troubles: list[str] = field(default_factory=list)


class Service:
    """One server, or several that act as one."""

    def __init__(self, servers: Sequence[ServerProcess]) -> None:
        self.servers = servers

    @property
    def target(self) -> str:
        """All addresses: gRPC uses those that answer."""
        return "ipv4:" + ",".join(server.target for server in self.servers)

    def client(self) -> Client:
        # Calls wait while no server is there; what was lost on its way is sent again under its request id.
        return Client(self.target, wait_for_ready=True, timeout=120.0)


class Storm:
    """A run: `jobs` errands for four clients; `kills` servers are killed, and are away for at most `longest` seconds."""

    def __init__(self, service: Service, *, jobs: int, kills: int, seed: int, longest: float) -> None:
        dice = random.Random(seed)
        self.service = service
        self.stories = [Story(errand) for errand in errands(dice, jobs)]
        self.strikes = strikes(dice, kills, jobs=jobs, servers=len(service.servers), longest=longest)
        self.seconds = 0.0
        self._ended = 0
        self._news = threading.Condition()
        self._threads: list[threading.Thread] = []

    def rage(self) -> None:
        """Returns when every job has ended, or took too long."""
        begin = time.monotonic()
        with self.service.client() as client:
            self._configs = {runner: client.configs.create("chaos", {}, runner=runner).id for runner in RUNNERS}
            calm = {"number": [-1], "fate": ["succeed"], "seconds": [0.0], "stray": [False]}
            self._models = {runner: client.train(config, calm).wait(timeout=60).id for runner, config in self._configs.items()}
        clients = [self.service.client() for _ in range(CLIENTS)]
        try:
            for number, client in enumerate(clients):
                self._spawn(self._submit_all, client, self.stories[number::CLIENTS])
            for strike in self.strikes:
                self._strike(strike)
            self._await(len(self.stories))
            for thread in self._threads:
                thread.join(timeout=10)
        finally:
            for client in clients:
                client.close()
        self.seconds = time.monotonic() - begin

    def _spawn(self, work: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _submit_all(self, client: Client, stories: Sequence[Story]) -> None:
        for story in stories:
            time.sleep(story.errand.pause)
            self._spawn(self._live_through, client, story)

    def _live_through(self, client: Client, story: Story) -> None:
        try:
            story.job = self._submit(client, story.errand)
            if story.errand.fate == "cancel":
                self._spawn(self._cancel, client, story)
            for event in story.job.watch():
                story.seen.append(event)
            story.watched_to_the_end = True
        except Exception as error:
            story.troubles.append(f"{type(error).__name__}: {error}")
        with self._news:
            self._ended += 1
            self._news.notify_all()

    def _submit(self, client: Client, errand: Errand) -> Job[Any]:
        if errand.kind == "train":
            return client.train(self._configs[errand.runner], errand.frame)
        return client.submit_prediction(self._models[errand.runner], errand.frame)

    def _cancel(self, client: Client, story: Story) -> None:
        time.sleep(story.errand.patience)
        assert story.job is not None
        try:
            # By id: the job itself belongs to the thread that watches.
            client.jobs.cancel(story.job.id, "chaos")
        except Exception as error:
            story.troubles.append(f"cancel: {type(error).__name__}: {error}")

    def _strike(self, strike: Strike) -> None:
        self._await(strike.after)
        time.sleep(strike.delay)
        victim = self.service.servers[strike.victim]
        match strike.blow:
            case Blow.KILL:
                victim.kill()
                time.sleep(strike.away)
                victim.start()
            case Blow.UNFORK:
                for fork_server in victim.process.children():
                    fork_server.kill()
            case Blow.FREEZE:
                victim.process.suspend()
                time.sleep(strike.away)
                victim.process.resume()

    def _await(self, ended: int) -> None:
        with self._news:
            self._news.wait_for(lambda: self._ended >= ended, timeout=LONGEST_SECONDS)
