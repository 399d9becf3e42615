"""The sample model in KServe's server. `python kserve_sample.py <columns> <options of the server>`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
columns = int(sys.argv.pop(1))

# They read the arguments when they are imported.
from kserve import InferRequest, InferResponse, Model, ModelServer, logging, model_server  # noqa: E402
from kserve.utils.utils import get_predict_response  # noqa: E402
from sample import trained  # noqa: E402


class Sample(Model):
    """What KServe's own server for scikit-learn does, which is no package."""

    def __init__(self) -> None:
        super().__init__("sample")
        self.model = trained(columns)
        self.ready = True

    def predict(self, payload: InferRequest, headers: object = None) -> InferResponse:
        rows = payload.inputs[0].as_numpy()
        return get_predict_response(payload, self.model.predict(rows), self.name)


arguments = model_server.parser.parse_args(sys.argv[1:])
logging.configure_logging(arguments.log_config_file)
# Two lines for each request otherwise.
logging.logger.setLevel("WARNING")
ModelServer().start([Sample()])
