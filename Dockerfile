# Airbyte's base for Python connectors; another base (of the same shape) can be given instead.
ARG BASE_IMAGE=docker.io/airbyte/python-connector-base:4.1.1@sha256:a268b44c733ae699a60f5fbc06a324945dba98945c6e2ab7f8609f2f895b0d28
FROM ${BASE_IMAGE}

WORKDIR /airbyte/integration_code
COPY setup.py pyproject.toml README.md main.py ./
COPY source_meetings source_meetings
COPY schemas schemas
# Byte-compiled here, for the file system may be read-only at run time and starting would be slow.
RUN python -m pip install --no-cache-dir --disable-pip-version-check . \
    && python -m compileall -q "$(python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')" \
    && rm -rf source_meetings schemas build ./*.egg-info

ENV AIRBYTE_ENTRYPOINT="python /airbyte/integration_code/main.py"
USER 1000:1000
ENTRYPOINT ["python", "/airbyte/integration_code/main.py"]

LABEL io.airbyte.name=airbyte/source-meetings
LABEL io.airbyte.version=0.1.0
