"""The sample model as a deployment of Ray Serve's. `python ray_sample.py <columns> <port> <folder>`."""

import signal
import sys
from pathlib import Path

import numpy as np
import ray
from ray import serve
from ray.serve.config import HTTPOptions
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

sys.path.insert(0, str(Path(__file__).parents[1]))

from sample import trained


@serve.deployment(num_replicas=1, max_ongoing_requests=256, ray_actor_options={"num_cpus": 1})
class Sample:
    def __init__(self, columns: int) -> None:
        self.columns = columns
        self.model = trained(columns)

    @serve.batch(max_batch_size=64, batch_wait_timeout_s=0.001)
    async def predict(self, rows: list[np.ndarray]) -> list[list[int]]:
        return [[int(found)] for found in self.model.predict(np.vstack(rows))]

    async def __call__(self, request: Request) -> Response:
        if request.headers["content-type"] == "application/octet-stream":
            rows = np.frombuffer(await request.body()).reshape(-1, self.columns)
            return Response(self.model.predict(rows).astype(np.int64).tobytes())
        body = await request.json()
        return JSONResponse({"predictions": await self.predict(np.array(body["rows"]))})


columns, port = int(sys.argv[1]), int(sys.argv[2])
ray.init(
    num_cpus=2,
    include_dashboard=False,
    _node_ip_address="127.0.0.1",
    _temp_dir=sys.argv[3],
    object_store_memory=200_000_000,
    log_to_driver=False,
    runtime_env={"env_vars": {"PYTHONPATH": str(Path(__file__).parents[1])}},
)
serve.start(http_options=HTTPOptions(host="127.0.0.1", port=port))
serve.run(Sample.bind(columns))
signal.sigwait([signal.SIGTERM, signal.SIGINT])
serve.shutdown()
ray.shutdown()
