"""The limit: asyncio gRPC that answers every message with itself."""

from collections.abc import Mapping, Sequence

from ..peer import SERVERS, Peer, Place, Question
from ..work import Mode, Work


class Echo(Peer):
    name = "echo"
    settings = "grpc.aio without a model, requests of the size of modelwire's"

    def command(self, place: Place) -> Sequence[str]:
        return [place.python, str(SERVERS / "echo.py"), str(place.port)]

    def subjects(self, place: Place, question: Question) -> Mapping[str, Work]:
        # As long as a PredictRequest with one row; the row's number tells the answers apart.
        messages = [bytes([number]) * (300 + 50 * question.columns) for number in range(len(question.rows))]
        expected = [[number] for number in range(len(messages))]

        def work(mode: Mode, method: str, *options: str) -> Work:
            return Work(
                mode=mode,
                target=place.address,
                method=f"/Echo/{method}",
                messages=messages,
                expected=expected,
                read=lambda answer: [answer[-1]],
                options=options,
            )

        return {"echo": work("unary", "Unary"), "echo, stream": work("stream", "Stream", "-numbered")}
