# Airbyte's base for Python connectors. Another base with Python 3.10 to 3.13 and pip can be given
# instead: --build-arg BASE_IMAGE=...
ARG BASE_IMAGE=docker.io/airbyte/python-connector-base:4.1.1@sha256:a268b44c733ae699a60f5fbc06a324945dba98945c6e2ab7f8609f2f895b0d28

FROM ${BASE_IMAGE} AS build
WORKDIR /build
COPY setup.py pyproject.toml README.md ./
COPY schemas schemas
COPY source_meetings source_meetings
# A virtual environment, so that the packages of the base and ours cannot get into each other's way;
# without pip, which nothing needs later. Byte-compiled, for the file system may be read-only at run
# time and starting would be slow. The test suites of numpy and pandas are a tenth of the size.
RUN python -m venv --without-pip /airbyte/venv \
    && python -m pip --python /airbyte/venv/bin/python --no-cache-dir --disable-pip-version-check \
        install --compile . \
    && find /airbyte/venv -type d -name tests -prune -exec rm -rf {} +

FROM ${BASE_IMAGE}
COPY --from=build /airbyte/venv /airbyte/venv
# Airbyte runs AIRBYTE_ENTRYPOINT through a shell, in /source.
ENV AIRBYTE_ENTRYPOINT=/airbyte/venv/bin/source-meetings
# The base's user airbyte. As numbers, without which Kubernetes cannot tell that it is not root.
USER 1000:1000
ENTRYPOINT ["/airbyte/venv/bin/source-meetings"]

LABEL io.airbyte.name=airbyte/source-meetings
LABEL io.airbyte.version=0.1.0
