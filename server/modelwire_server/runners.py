"""The runners and predictors that a server serves."""

from collections.abc import Sequence
from typing import Any

from modelwire_runners import ArtifactHierarchy, BaseModelRunner, Predictor, TargetError, load_served

from .errors import RunnerNotFound, RunnerNotServed
from .formats.library import LIBRARY_RUNNER

Runner = BaseModelRunner[Any]


class RunnerRegistry:
    """Runners by id; the first is the default. Beside them, or instead of them, there may be predictors. Raises TargetError when two have
    the same id or name, or there is nothing at all, unless models are expected that the built-in runner serves."""

    def __init__(
        self, runners: Sequence[Runner], predictors: Sequence[Predictor] = (), *, expected_models: Sequence[str] = ()
    ) -> None:
        if not runners and not predictors and not expected_models:
            raise TargetError("there is nothing to serve: name at least one runner, for instance `service.py:runner`")
        self.predictors = tuple(predictors)
        names = [predictor.name for predictor in predictors]
        if twice := next((name for index, name in enumerate(names) if name in names[:index]), None):
            raise TargetError(f"two predictors have the name `{twice}`; give each a name of its own")
        self._runners: dict[str, Runner] = {}
        for runner in runners:
            if runner.info.id in self._runners:
                raise TargetError(f"two runners have the id `{runner.info.id}`; give each an id of its own in its RunnerInfo")
            self._runners[runner.info.id] = runner

    @classmethod
    def load(cls, targets: Sequence[str], expected_models: Sequence[str] = ()) -> "RunnerRegistry":
        """Imports what is behind the targets. Raises TargetError."""
        served = [one for target in targets for one in load_served(target)]
        runners = [one for one in served if isinstance(one, BaseModelRunner)]
        predictors = [one for one in served if isinstance(one, Predictor)]
        return cls(runners, predictors, expected_models=expected_models)

    @property
    def default(self) -> Runner:
        """Raises RunnerNotFound where there are only predictors."""
        for runner in self._runners.values():
            return runner
        raise RunnerNotFound("this server has predictors, but no runner", runner="", known="")

    def all(self) -> list[Runner]:
        return list(self._runners.values())

    def working(self) -> list[Runner]:
        """All whose jobs are done here: those that are named, and the built-in one."""
        return list({LIBRARY_RUNNER.info.id: LIBRARY_RUNNER, **self._runners}.values())

    def get(self, runner_id: str = "") -> Runner:
        """The runner that a caller names; empty means the default. Raises RunnerNotFound."""
        if not runner_id:
            return self.default
        if runner_id not in self._runners:
            known = ", ".join(self._runners) or "none"
            raise RunnerNotFound(f"there is no runner `{runner_id}`; this server has: {known}", runner=runner_id, known=known)
        return self._runners[runner_id]

    def served(self, runner_id: str) -> Runner:
        """The runner that stored things belong to, or the built-in one. Raises RunnerNotServed if the server was started without it."""
        if runner_id == LIBRARY_RUNNER.info.id:
            return self._runners.get(runner_id, LIBRARY_RUNNER)
        if runner_id not in self._runners:
            message = f"the runner `{runner_id or 'of an upload'}` is not served here; start the server with it"
            raise RunnerNotServed(message, runner=runner_id)
        return self._runners[runner_id]

    def hierarchy(self, runner_id: str) -> ArtifactHierarchy:
        """How the levels of a runner's artifacts are called; uploads are named as the default runner's are."""
        runner = self._runners.get(runner_id) or next(iter(self._runners.values()), None)
        return runner.hierarchy if runner else ArtifactHierarchy()
