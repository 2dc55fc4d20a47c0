# syntax=docker/dockerfile:1
# Route: charters, decisions, review. Neither torch nor Ray is in it.
# Build from the repository's root: docker build --file docker/route.Dockerfile --tag apaise/route:0.1.0 .

FROM python:3.11-slim-bookworm AS wheels
WORKDIR /src
COPY protos/pyproject.toml protos/pyproject.toml
COPY protos/gen protos/gen
COPY services/kit services/kit
COPY services/route services/route
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels ./protos ./services/kit ./services/route

FROM python:3.11-slim-bookworm AS installed
COPY requirements.lock /src/requirements.lock
COPY --from=wheels /wheels /wheels
RUN python -m venv /opt/apaise \
    && /opt/apaise/bin/pip install --no-cache-dir --constraint /src/requirements.lock /wheels/*.whl

FROM python:3.11-slim-bookworm
LABEL org.opencontainers.image.title="apaise-route" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN groupadd --gid 10001 apaise \
    && useradd --uid 10001 --gid apaise --home-dir /var/lib/apaise --no-create-home --shell /usr/sbin/nologin apaise \
    && install --directory --owner=apaise --group=apaise /var/lib/apaise
COPY --from=installed /opt/apaise /opt/apaise
COPY --chmod=0555 docker/entrypoint.sh docker/healthcheck.py /usr/local/lib/apaise/
ENV PATH=/opt/apaise/bin:$PATH \
    HOME=/var/lib/apaise \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    APAISE_HOST=0.0.0.0 \
    APAISE_PORT=7103 \
    APAISE_METRICS_PORT=9103
USER 10001:10001
WORKDIR /var/lib/apaise
EXPOSE 7103 9103
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "/usr/local/lib/apaise/healthcheck.py"]
ENTRYPOINT ["/usr/local/lib/apaise/entrypoint.sh"]
CMD ["python", "-P", "-m", "apaise_route"]
