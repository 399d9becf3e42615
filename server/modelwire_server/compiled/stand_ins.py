"""What stands in for estimators: their methods run compiled graphs, all else is the estimator's own."""

import json
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from .layouts import Layout, Reader
from .originals import Original
from .places import Place, estimators_of, replaced

# Under which name a graph keeps what is to be known of it.
_NOTE = "modelwire"
# So much is given to a graph at once, and at least so many rows: fewer cost more for each call than they save.
BLOCK_BYTES, BLOCK_ROWS = 1 << 20, 1024


@dataclass(frozen=True, slots=True)
class Graph:
    """One compiled method of one estimator. `content` is the ONNX file; `form` is what becomes of its output: `same`, `flat` for a column
    that is to be a list, `last` for the last column alone; `dtype` is what the estimator's own method returns."""

    place: Place
    method: str
    layout: Layout
    form: str
    dtype: str
    content: bytes

    @property
    def note(self) -> dict[str, str]:
        """What is kept inside of the file."""
        known = {
            "place": [self.place.kind, self.place.key],
            "method": self.method,
            "layout": self.layout.to_json(),
            "form": self.form,
            "dtype": self.dtype,
        }
        return {_NOTE: json.dumps(known)}

    @classmethod
    def read(cls, content: bytes) -> tuple[Self, Any]:
        """The graph in a file that was written with its note, and a session that runs it."""
        session = open_session(content)
        known = json.loads(session.get_modelmeta().custom_metadata_map[_NOTE])
        kind, key = known["place"]
        layout = Layout.from_json(known["layout"])
        return cls(Place(kind, key), known["method"], layout, known["form"], known["dtype"], content), session


def open_session(content: bytes) -> Any:
    """A session that computes in the thread that calls it."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    # Its arena would keep the memory of the largest prediction for ever, and is not faster.
    options.enable_cpu_mem_arena = False
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


class Fallbacks(threading.local):
    """How often in this thread rows went to an estimator's own method: who counts before and after a call knows who computed it."""

    count = 0


fallbacks = Fallbacks()


class CompiledMethod:
    """A method of a stand-in. Rows that the graph does not take go to the estimator's own method."""

    __slots__ = ("_dtype", "_form", "_original", "_output", "_read", "_run")

    def __init__(self, graph: Graph, session: Any, original: Callable[..., Any]) -> None:
        self._read = Reader(graph.layout)
        self._run = session.run
        self._output = [session.get_outputs()[0].name]
        self._form = FORMS[graph.form]
        self._dtype = np.dtype(graph.dtype)
        self._original = original

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        output = None if options or len(arguments) != 1 else self._computed(arguments[0])
        if output is None:
            fallbacks.count += 1
            return self._original(*arguments, **options)
        return self._form(output).astype(self._dtype, copy=False)

    def _computed(self, rows: Any) -> Any:
        """The output of the graph; None for rows that it does not take. A matrix is read some rows at a time: whole, it would be there
        once more."""
        if type(rows) is not np.ndarray or rows.nbytes <= BLOCK_BYTES:
            feeds = self._read(rows)
            return None if feeds is None else self._fed(feeds)
        outputs = []
        for block in _blocks(len(rows), rows.nbytes):
            if (feeds := self._read(rows[block])) is None:
                return None
            outputs.append(self._fed(feeds))
        return np.concatenate(outputs)

    def _fed(self, feeds: Mapping[str, Any]) -> Any:
        """Some rows at a time: what the graph makes on the way stays in the caches, and in memory that is there."""
        size, rows = sum(feed.nbytes for feed in feeds.values()), len(next(iter(feeds.values())))
        if size <= BLOCK_BYTES:
            return self._run(self._output, feeds)[0]
        blocks = ({name: feed[block] for name, feed in feeds.items()} for block in _blocks(rows, size))
        return np.concatenate([self._run(self._output, block)[0] for block in blocks])


def _blocks(rows: int, size: int) -> Iterator[slice]:
    step = max(BLOCK_ROWS, BLOCK_BYTES * rows // size)
    return (slice(begin, begin + step) for begin in range(0, rows, step))


def _same(output: Any) -> Any:
    return output


def _flat(output: Any) -> Any:
    return output.ravel()


def _last(output: Any) -> Any:
    return output[:, -1]


FORMS: Mapping[str, Callable[[Any], Any]] = {"same": _same, "flat": _flat, "last": _last}


class StandIn:
    """An estimator some of whose methods are others; in all else it is the estimator, its class included. Whatever is asked of an
    estimator that is not in memory raises OriginalNeeded."""

    def __init__(self, original: Original, methods: Mapping[str, Callable[..., Any]]) -> None:
        self.__dict__.update(methods, _original=original, _methods=methods)

    @property  # type: ignore[misc]
    def __class__(self) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        return type(self.__dict__["_original"].get())

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["_original"].get(), name)

    def __getitem__(self, key: Any) -> Any:
        return self.__dict__["_original"].get()[key]

    def __len__(self) -> int:
        return len(self.__dict__["_original"].get())

    def __iter__(self) -> Any:
        return iter(self.__dict__["_original"].get())

    def __bool__(self) -> bool:
        return True

    def __repr__(self) -> str:
        return repr(self.__dict__["_original"].get())

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def __reduce_ex__(self, protocol: Any) -> Any:
        # Sessions cannot be copied; a copy computes as the estimator does.
        original = self.__dict__["_original"].get()
        return original.__reduce_ex__(protocol)


def is_whole(graphs: Iterable[tuple[Graph, Any]]) -> bool:
    """Whether they stand in for the model itself, not for something that it holds."""
    return all(graph.place == Place() for graph, _ in graphs)


def compiled(model: Original, graphs: Sequence[tuple[Graph, Any]]) -> Any:
    """The model with stand-ins that run these graphs, each with its session, in the places of its estimators. Only a model that is whole
    need not be in memory. Raises KeyError if they are of another model, OriginalNeeded, and what copying a model raises."""
    originals = {Place(): model} if is_whole(graphs) else _estimators_of(model)
    methods: dict[Place, dict[str, CompiledMethod]] = {}
    for graph, session in graphs:
        method = originals[graph.place].method(graph.method)
        methods.setdefault(graph.place, {})[graph.method] = CompiledMethod(graph, session, method)
    stand_ins = {place: StandIn(originals[place], known) for place, known in methods.items()}
    return stand_ins[Place()] if Place() in stand_ins else replaced(model.get(), stand_ins)


def _estimators_of(model: Original) -> dict[Place, Original]:
    return {place: Original.known(estimator) for place, estimator in estimators_of(model.get()).items()}
