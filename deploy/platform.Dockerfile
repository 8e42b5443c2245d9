# MLflow, Prefect and the flows: the whole environment from the lock. Built from the checkout's root.
FROM python:3.11-slim-bookworm

RUN apt-get update \
    && apt-get install --yes --no-install-recommends git make \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 1034 bloodyspy \
    && install --directory --owner=bloodyspy --group=bloodyspy /var/lib/bloodyspy /project

WORKDIR /opt/bloodyspy
COPY . .
RUN make install PYTHON=python3.11

ENV PATH=/opt/bloodyspy/.venv/bin:$PATH
USER bloodyspy
