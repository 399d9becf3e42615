"""The limit: asyncio gRPC that answers every message with itself."""

from collections.abc import Sequence

from ..load import PROGRAM
from ..peer import SERVERS, Peer, Place, Question, Works
from ..work import Mode, Work


class Echo(Peer):
    name = "echo"
    settings = "grpc.aio without a model, requests of the size of modelwire's"

    def command(self, place: Place) -> Sequence[str]:
        return [place.python, str(SERVERS / "echo.py"), str(place.port)]

    def calls(self, place: Place, question: Question) -> Works:
        return {self.name: echo(place, question, "unary", "Unary")}

    def streams(self, place: Place, question: Question) -> Works:
        return {self.name: echo(place, question, "stream", "Stream", "-numbered")}


class NativeEcho(Echo):
    name = "echo in Go"
    settings = "what the load generator itself can do"

    def command(self, place: Place) -> Sequence[str]:
        return [str(PROGRAM), "echo", f"-target={place.address}"]


def echo(place: Place, question: Question, mode: Mode, method: str, *options: str) -> Work:
    # As long as a PredictRequest with one row; the row's number tells the answers apart.
    messages = [bytes([number]) * (300 + 50 * question.columns) for number in range(len(question.rows))]
    return Work(
        mode=mode,
        target=place.address,
        method=f"/Echo/{method}",
        messages=messages,
        expected=[[number] for number in range(len(messages))],
        read=lambda answer: [answer[-1]],
        options=options,
    )
