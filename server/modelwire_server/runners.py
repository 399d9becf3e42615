"""The runners that a server serves."""

from collections.abc import Sequence
from typing import Any

from modelwire_runners import ArtifactHierarchy, BaseModelRunner, TargetError, load_runner

from .errors import RunnerNotFound, RunnerNotServed

Runner = BaseModelRunner[Any]


class RunnerRegistry:
    """Runners by id; the first is the default. Raises TargetError when two have the same id, or there is none."""

    def __init__(self, runners: Sequence[Runner]) -> None:
        if not runners:
            raise TargetError("there is nothing to serve: name at least one runner, for instance `service.py:runner`")
        self._runners: dict[str, Runner] = {}
        for runner in runners:
            if runner.info.id in self._runners:
                raise TargetError(f"two runners have the id `{runner.info.id}`; give each an id of its own in its RunnerInfo")
            self._runners[runner.info.id] = runner

    @classmethod
    def load(cls, targets: Sequence[str]) -> "RunnerRegistry":
        """Imports the runners behind the targets. Raises TargetError."""
        return cls([load_runner(target) for target in targets])

    @property
    def default(self) -> Runner:
        return next(iter(self._runners.values()))

    def all(self) -> list[Runner]:
        return list(self._runners.values())

    def get(self, runner_id: str = "") -> Runner:
        """The runner that a caller names; empty means the default. Raises RunnerNotFound."""
        if not runner_id:
            return self.default
        if runner_id not in self._runners:
            known = ", ".join(self._runners)
            raise RunnerNotFound(f"there is no runner `{runner_id}`; this server has: {known}", runner=runner_id, known=known)
        return self._runners[runner_id]

    def served(self, runner_id: str) -> Runner:
        """The runner that stored things belong to. Raises RunnerNotServed if the server was started without it."""
        if runner_id not in self._runners:
            message = f"the runner `{runner_id or 'of an upload'}` is not served here; start the server with it"
            raise RunnerNotServed(message, runner=runner_id)
        return self._runners[runner_id]

    def hierarchy(self, runner_id: str) -> ArtifactHierarchy:
        """How the levels of a runner's artifacts are called; uploads are named as the default runner's are."""
        return self._runners.get(runner_id, self.default).hierarchy
