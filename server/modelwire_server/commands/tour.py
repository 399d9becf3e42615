"""What the demo does and shows."""

import importlib.util
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from modelwire import Client
from modelwire.cli.artifacts import draw
from modelwire.cli.output import console, duration, error_console, number, plain, styled, table, write_json
from modelwire.cli.watching import display

if TYPE_CHECKING:
    from rich.console import Console

    from modelwire import ArtifactNode, Job

    from .neighbour import Neighbour

SHOWN = 5
SINGLE_CALLS = 100


@dataclass
class Result:
    """All that was found out. `errors` are RMSE and MAE, of the model and of always predicting the mean."""

    target: str
    example: Path
    rows_trained: int = 0
    rows_unseen: int = 0
    model_id: str = ""
    job_id: str = ""
    errors: dict[str, dict[str, float]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    one_row_milliseconds: float = 0.0
    tree: "ArtifactNode | None" = None

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Measures how long something takes."""
        begun = time.perf_counter()
        yield
        self.seconds[name] = time.perf_counter() - begun


def take(server: "Neighbour", *, as_json: bool) -> Result:
    """The tour: the server is up, a model is trained, it predicts. Tells about it as it goes, on standard error with --json."""
    out = error_console() if as_json else console()
    out.print("[bold]modelwire demo[/bold]  a model becomes a service\n")
    result = Result(target="", example=server.file)
    step(out, 1, "Serve", f"modelwire serve {short(server.file)}:runner")
    with result.phase("start the server"):
        # Loading scikit-learn here takes as long as the server takes to start; both happen at the same time.
        past, unseen = load(server.file).load_frames()
        result.target = server.announcement()["grpc"]
    told(out, f"gRPC on {result.target}, data in a temporary folder")
    with Client(result.target) as client:
        train(client, result, past, out)
        predict(client, result, past, unseen, out)
        keep(client, result, unseen, out)
    return result


def load(file: Path) -> ModuleType:
    """The example as a module, for its data."""
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def step(out: "Console", count: int, title: str, code: str) -> None:
    """The heading of a step, with the line that does it."""
    out.print(f"[bold green]{count}[/bold green] [bold]{title}[/bold]  ", styled(code, "cyan"), sep="", soft_wrap=True)


def told(out: "Console", text: str) -> None:
    """A line below a heading."""
    out.print(f"  {text}", markup=False, soft_wrap=True)


def train(client: Client, result: Result, past: Any, out: "Console") -> None:
    """Step 2."""
    out.print()
    step(out, 2, "Train", "client.train(config, patients)")
    result.rows_trained = len(past)
    told(out, f"{len(past)} patients of scikit-learn's diabetes data; another quarter is kept back")
    with result.phase("store a config"):
        config = client.configs.create("demo", {"epochs": 500}, tags=["demo"])
    with result.phase("train"):
        job = client.train(config, past, tags=["demo"])
        follow(job, out)
        model = job.result()
    result.model_id, result.job_id = model.id, job.id
    told(out, f"model {model.id}")


def follow(job: "Job[Any]", out: "Console") -> None:
    """Shows a job live; Ctrl-C ends the demo and the job with it."""
    with display(job.id, out) as show:
        job.wait(progress=show)


def predict(client: Client, result: Result, past: Any, unseen: Any, out: "Console") -> None:
    """Step 3."""
    out.print()
    step(out, 3, "Predict", "model.predict(new_patients)")
    questions, truth = unseen.drop(columns="target"), unseen["target"]
    result.rows_unseen = len(unseen)
    with result.phase(f"predict {len(unseen)} rows"):
        predicted = client.predict(result.model_id, questions)["sample_0"]
    told(out, f"{len(unseen)} patients that training never saw; the first {SHOWN}:")
    rows = [
        (f"{age:.0f}", f"{bmi:.1f}", f"{pressure:.0f}", f"{actual:.0f}", styled(f"{guess:.0f}", "bold"))
        for age, bmi, pressure, actual, guess in zip(unseen["age"], unseen["bmi"], unseen["bp"], truth, predicted, strict=True)
    ]
    out.print(indented(table(">age", ">bmi", ">blood pressure", ">actual", ">predicted", rows=rows[:SHOWN])))
    guessed = [float(past["target"].mean())] * len(unseen)
    result.errors = {"model": errors(list(predicted), list(truth)), "always the mean": errors(guessed, list(truth))}
    better = 1 - result.errors["model"]["rmse"] / result.errors["always the mean"]["rmse"]
    out.print()
    lines = [(name, number(round(e["rmse"], 1)), number(round(e["mae"], 1))) for name, e in result.errors.items()]
    out.print(indented(table("error on them", ">RMSE", ">MAE", rows=lines)))
    told(out, f"The model's error is {better:.0%} smaller.")
    result.one_row_milliseconds = one_row(client, result, questions)


def errors(predicted: list[float], actual: list[float]) -> dict[str, float]:
    """Root mean squared error and mean absolute error."""
    differences = [float(p) - float(a) for p, a in zip(predicted, actual, strict=True)]
    rmse = statistics.fmean(d * d for d in differences) ** 0.5
    return {"rmse": rmse, "mae": statistics.fmean(abs(d) for d in differences)}


def one_row(client: Client, result: Result, questions: Any) -> float:
    """The median time of a prediction for one row, in milliseconds."""
    model, row, times = client.models.get(result.model_id), questions.head(1), []
    with result.phase(f"predict one row, {SINGLE_CALLS} times"):
        for _ in range(SINGLE_CALLS):
            begun = time.perf_counter()
            model.predict(row)
            times.append(time.perf_counter() - begun)
    return statistics.median(times) * 1000


def keep(client: Client, result: Result, unseen: Any, out: "Console") -> None:
    """Step 4."""
    out.print()
    step(out, 4, "Keep", "client.submit_prediction(model, new_patients)")
    with result.phase("predict as a job, kept"):
        client.submit_prediction(result.model_id, unseen.drop(columns="target"), tags=["demo"]).wait()
    result.tree = client.artifacts.tree(result.model_id)
    told(out, "what was made, and from what:")
    out.print(indented(draw(result.tree)))


def indented(renderable: Any) -> Any:
    """Two columns further right."""
    from rich.padding import Padding

    return Padding(renderable, (0, 0, 0, 2), expand=False)


def short(path: Path) -> str:
    """A path as one would type it here."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def show(result: Result, *, as_json: bool) -> None:
    """The end: how long it took, and what to do next."""
    if as_json:
        write_json({**plain(result), "error": result.errors["model"]})
        return
    out = console()
    out.print("\n[bold]How long it took[/bold]")
    rows = [(name, duration_text(seconds)) for name, seconds in result.seconds.items()]
    rows.append(("one row of these, median", f"{result.one_row_milliseconds:.1f} ms"))
    out.print(indented(table("phase", ">time", rows=rows)))
    out.print("\n[bold]What to type next[/bold]")
    out.print(next_steps(result.example), markup=False, soft_wrap=True)


def duration_text(seconds: float) -> str:
    """Seconds, or milliseconds where these tell more."""
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else duration(seconds)


SNIPPET = """\
from modelwire import Client
from sklearn.datasets import load_diabetes

data = load_diabetes(as_frame=True, scaled=False).frame
with Client("localhost:50051") as client:
    config = client.configs.create("v1", {"alpha": 0.1})
    model = client.train(config, data).wait(progress=True)
    print(model.predict(data.head())["sample_0"])
"""


def next_steps(example: Path) -> str:
    """Lines that work as they are."""
    code = "\n".join(f"      {line}".rstrip() for line in SNIPPET.splitlines())
    return f"""\
  Serve the same model, and call it from Python or from a shell:
      modelwire serve {short(example)}:runner

{code}

      grpcurl -plaintext localhost:50051 modelwire.v1.RunnerService/ListRunners

  Begin a model of your own:
      modelwire init my-model
"""


def keep_serving(server: "Neighbour", result: Result) -> None:
    """Leaves the server running until Ctrl-C."""
    out = error_console()
    out.print("[bold]The server is still there[/bold], until Ctrl-C:")
    for line in (f"export MODELWIRE_TARGET={result.target}", f"modelwire artifacts tree {result.model_id}", "modelwire jobs list"):
        out.print(f"      {line}", markup=False, soft_wrap=True)
    server.wait()
