# The server and scikit-learn. To serve a model of your own, either mount its folder at /app, or build on this image:
#
#     FROM modelwire
#     COPY service.py .
#     CMD ["serve", "service.py:runner"]

ARG PYTHON=3.13

FROM python:${PYTHON}-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
RUN python -m venv /opt/modelwire
ENV PATH=/opt/modelwire/bin:$PATH
WORKDIR /src
# The libraries first: they change less often than the code.
COPY requirements-server.lock ./
RUN pip install --require-hashes --requirement requirements-server.lock
COPY pyproject.toml README.md LICENSE ./
COPY client client
COPY runners runners
COPY server server
RUN pip install --no-deps --no-build-isolation .

FROM python:${PYTHON}-slim
RUN useradd --uid 1000 --create-home modelwire \
    && install --directory --owner modelwire --group modelwire /app /data
COPY --from=build /opt/modelwire /opt/modelwire
ENV PATH=/opt/modelwire/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    MODELWIRE_HOST=0.0.0.0 \
    MODELWIRE_DATA_DIR=/data
USER 1000:1000
WORKDIR /app
VOLUME /data
EXPOSE 50051 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=6s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen(f\"http://127.0.0.1:{os.environ.get('MODELWIRE_HTTP_PORT', 8000)}/health\", timeout=5)"]
ENTRYPOINT ["modelwire"]
CMD ["serve", "service.py:runner"]
