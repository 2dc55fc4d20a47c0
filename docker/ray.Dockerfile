# syntax=docker/dockerfile:1
# Ray's node: it runs classify's replicas and train's tasks, hence holds the code of both.
# Build from the repository's root: docker build --file docker/ray.Dockerfile --tag apaise/ray:0.1.0 .

FROM python:3.11-slim-bookworm AS wheels
WORKDIR /src
COPY protos/pyproject.toml protos/pyproject.toml
COPY protos/gen protos/gen
COPY services/kit services/kit
COPY mlops mlops
COPY services/classify services/classify
COPY services/train services/train
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels ./protos ./services/kit ./mlops ./services/classify ./services/train

FROM python:3.11-slim-bookworm AS installed
# On amd64 the torch of the default index brings CUDA with it. For CPUs alone, build with
# --build-arg PIP_EXTRA_INDEX_URL=<PyTorch's index of CPU wheels>.
ARG PIP_EXTRA_INDEX_URL=""
COPY requirements.lock /src/requirements.lock
COPY --from=wheels /wheels /wheels
RUN python -m venv /opt/apaise \
    && /opt/apaise/bin/pip install --no-cache-dir --constraint /src/requirements.lock /wheels/*.whl

FROM python:3.11-slim-bookworm
LABEL org.opencontainers.image.title="apaise-ray" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN groupadd --gid 10001 apaise \
    && useradd --uid 10001 --gid apaise --home-dir /var/lib/apaise --no-create-home --shell /usr/sbin/nologin apaise \
    && install --directory --owner=apaise --group=apaise /var/lib/apaise /var/lib/apaise/cache /var/lib/apaise/artifacts
COPY --from=installed /opt/apaise /opt/apaise
COPY --chmod=0555 docker/entrypoint.sh docker/healthcheck.py /usr/local/lib/apaise/
ENV OMP_WAIT_POLICY=PASSIVE \
    PATH=/opt/apaise/bin:$PATH \
    HOME=/var/lib/apaise \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    APAISE_CACHE=/var/lib/apaise/cache \
    RAY_USAGE_STATS_ENABLED=0 \
    MLFLOW_DISABLE_TELEMETRY=true \
    GIT_PYTHON_REFRESH=quiet
USER 10001:10001
WORKDIR /var/lib/apaise
EXPOSE 6379
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "/usr/local/lib/apaise/healthcheck.py", "6379"]
ENTRYPOINT ["/usr/local/lib/apaise/entrypoint.sh"]
CMD ["ray", "start", "--head", "--block", "--port=6379", "--num-cpus=4", "--object-store-memory=268435456", \
     "--include-dashboard=false", "--include-log-monitor=false", "--disable-usage-stats"]
