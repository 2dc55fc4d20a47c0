# syntax=docker/dockerfile:1
# Train: snapshots, the gate, the ledger. The MLflow server of compose.yaml runs from this image too.
# Build from the repository's root: docker build --file docker/train.Dockerfile --tag apaise/train:0.1.0 .

FROM python:3.11-slim-bookworm AS wheels
WORKDIR /src
COPY protos/pyproject.toml protos/pyproject.toml
COPY protos/gen protos/gen
COPY services/kit services/kit
COPY mlops mlops
COPY services/train services/train
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels ./protos ./services/kit ./mlops ./services/train

FROM python:3.11-slim-bookworm AS installed
# On amd64 the torch of the default index brings CUDA with it. For CPUs alone, build with
# --build-arg PIP_EXTRA_INDEX_URL=<PyTorch's index of CPU wheels>.
ARG PIP_EXTRA_INDEX_URL=""
COPY requirements.lock /src/requirements.lock
COPY --from=wheels /wheels /wheels
RUN python -m venv /opt/apaise \
    && /opt/apaise/bin/pip install --no-cache-dir --constraint /src/requirements.lock /wheels/*.whl

FROM python:3.11-slim-bookworm
LABEL org.opencontainers.image.title="apaise-train" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN groupadd --gid 10001 apaise \
    && useradd --uid 10001 --gid apaise --home-dir /var/lib/apaise --no-create-home --shell /usr/sbin/nologin apaise \
    && install --directory --owner=apaise --group=apaise /var/lib/apaise /var/lib/apaise/cache /var/lib/apaise/artifacts
COPY --from=installed /opt/apaise /opt/apaise
COPY --chmod=0555 docker/entrypoint.sh docker/healthcheck.py /usr/local/lib/apaise/
ENV PATH=/opt/apaise/bin:$PATH \
    HOME=/var/lib/apaise \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    APAISE_HOST=0.0.0.0 \
    APAISE_PORT=7104 \
    APAISE_METRICS_PORT=9104 \
    APAISE_CACHE=/var/lib/apaise/cache \
    RAY_USAGE_STATS_ENABLED=0 \
    APAISE_ARTIFACTS=/var/lib/apaise/artifacts \
    MLFLOW_DISABLE_TELEMETRY=true \
    GIT_PYTHON_REFRESH=quiet
USER 10001:10001
WORKDIR /var/lib/apaise
EXPOSE 7104 9104
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "/usr/local/lib/apaise/healthcheck.py"]
ENTRYPOINT ["/usr/local/lib/apaise/entrypoint.sh"]
CMD ["python", "-P", "-m", "apaise_train"]
