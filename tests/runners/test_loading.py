"""What becomes of a model that was made elsewhere."""

from typing import Any

from modelwire_runners import BaseConfig, BaseModelRunner, FunctionalModelRunner, RunnerInfo


def predict(config: Any, model: Any, historic: Any, future: Any) -> Any:
    return future


class Plain(BaseModelRunner[BaseConfig]):
    def on_train(self, config: BaseConfig, data: Any, geo: Any = None) -> Any:
        raise NotImplementedError

    def on_predict(self, config: BaseConfig, model: Any, historic: Any, future: Any, geo: Any = None) -> Any:
        raise NotImplementedError


def train(config: Any, data: Any) -> Any:
    raise NotImplementedError


def test_it_is_the_model_unless_the_runner_makes_something_of_it() -> None:
    content = {"w": 1}
    assert Plain().on_load(BaseConfig(), content) is content
    named = {"info": RunnerInfo(id="functions")}
    assert FunctionalModelRunner(train, predict, **named).function("on_load")(BaseConfig(), content) is content
    made = FunctionalModelRunner(train, predict, on_load=lambda config, content: content["w"], **named)
    assert made.function("on_load")(BaseConfig(), content) == 1
