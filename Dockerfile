# The kit and all it needs, in one image. `repro docker build` builds it, docker/README.md says how
# to use it and how to check what is pinned here.

# By digest, which no tag can move; `docker/check.sh base` confirms that the tag still has it.
ARG BASE_IMAGE=nvidia/cuda:13.0.3-base-ubuntu24.04@sha256:7c7413a56200486f71f181cad9310f6fd31b6bb21816ade15fc9c1e1e927a5c1

FROM ${BASE_IMAGE} AS system
# System packages come from the archive as it was then; empty: from where the base image says.
ARG APT_SNAPSHOT=20261115T000000Z
# The time of all files made by a build (seconds; that day), so that each build makes the same.
ARG SOURCE_DATE_EPOCH=1794700800
ENV DEBIAN_FRONTEND=noninteractive
COPY docker/apt-install.sh /usr/local/sbin/apt-install
RUN apt-install python3 tini

FROM system AS builder
ARG SOURCE_DATE_EPOCH=1794700800
ARG VARIANT=cuda
# Where torch's CPU builds lie; every file is checked against the lock, wherever it comes from.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
RUN apt-install python3-pip
COPY docker/${VARIANT}.lock docker/pip-install.sh /opt/lock/
RUN sh /opt/lock/pip-install.sh /opt/lock/${VARIANT}.lock
COPY pyproject.toml setup.py constraints.txt README.md LICENSE CITATION.cff /opt/repro/
COPY repro /opt/repro/repro
COPY expected_results /opt/repro/expected_results
COPY docker /opt/repro/docker
RUN sh /opt/lock/pip-install.sh /opt/repro

FROM system
ARG SOURCE_DATE_EPOCH=1794700800
ARG VARIANT=cuda
ARG UID=1000
ARG GID=1000
# Triton's kernels (FlexAttention, vLLM) are compiled on first use; launchers need a C compiler.
RUN if [ "${VARIANT}" != cpu ]; then apt-install gcc libc6-dev python3-dev; fi
# Whoever is given with --user can write to the two folders, also to a volume made from them.
RUN getent group "${GID}" >/dev/null || groupadd --gid "${GID}" repro; \
    getent passwd "${UID}" >/dev/null || \
    useradd --uid "${UID}" --gid "${GID}" --no-create-home --home-dir /tmp repro; \
    install -d -m 1777 /results /cache
COPY --from=builder /opt/venv /opt/venv
COPY --from=builder /opt/repro /opt/repro
# Labels change with every commit, so they come last.
ARG VERSION=
ARG REVISION=
ARG LOCK_SHA256=
ENV PATH=/opt/venv/bin:${PATH} \
    HOME=/tmp \
    LANG=C.UTF-8 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    XDG_CACHE_HOME=/cache \
    HF_HOME=/cache/huggingface \
    MPLCONFIGDIR=/tmp/matplotlib \
    TRITON_CACHE_DIR=/cache/triton \
    TORCHINDUCTOR_CACHE_DIR=/cache/inductor \
    REPRO_STORE=/cache/store \
    REPRO_IMAGE=${VARIANT} \
    REPRO_REVISION=${REVISION}
LABEL org.opencontainers.image.title="repro" \
      org.opencontainers.image.description="Reproduction kit for arXiv 2403.09162" \
      org.opencontainers.image.source="https://arxiv.org/abs/2403.09162" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      repro.variant="${VARIANT}" \
      repro.lock.sha256="${LOCK_SHA256}"
USER ${UID}:${GID}
# `repro run` writes to results/, here /results.
WORKDIR /
ENTRYPOINT ["/usr/bin/tini", "-s", "--", "repro"]
CMD ["run", "--profile", "auto", "--verify"]
