# The controller. `docker build .` works as it stands; `make image` builds the same without a registry, on Debian bases
# of its own (hack/cluster/images/table.py). All bases must have the same Python at the same path; the last one needs no
# shell and no package tools.
ARG BUILD_BASE=python:3.13-slim
ARG BASE=python:3.13-slim
# The stage with the packages, or an image that is that stage already: a change of the sources then needs no pip.
ARG PACKAGES=packages

FROM ${BUILD_BASE} AS installed
# Wheels that lie beside the lock file save the way to a package index; PIP_NO_INDEX=1 forbids it.
ARG PIP_NO_INDEX
ARG PIP_FIND_LINKS=/build
COPY requirements.lock wheels* /build/
# pip stays behind in an environment of its own. Compiled files name the hash and not the time of their source, because
# images are built with all times at zero; sources in an image do not change, so they need no check.
RUN python3 -m venv /build/pip \
 && python3 -m venv --without-pip /opt/podtask \
 && /build/pip/bin/pip --python /opt/podtask/bin/python3 install --no-cache-dir --no-compile --only-binary=:all: \
      --require-hashes -r /build/requirements.lock \
 && find /opt/podtask -regex '.*\.\(pyx\|pxd\|pyi\|c\|h\)' -delete \
 && /opt/podtask/bin/python3 -m compileall -q --invalidation-mode=unchecked-hash /opt/podtask/lib

FROM scratch AS packages
COPY --from=installed /opt/podtask /opt/podtask

FROM ${PACKAGES} AS given

FROM ${BASE} AS compiled
COPY controller/podtask /srv/podtask/podtask
RUN ["python3", "-m", "compileall", "-q", "--invalidation-mode=unchecked-hash", "/srv/podtask"]

FROM ${BASE}
ARG VERSION=dev
LABEL org.opencontainers.image.title="podtask" \
      org.opencontainers.image.description="The PodTask controller: containerised tasks as Kubernetes objects" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}"
COPY --from=given /opt/podtask /opt/podtask
COPY --from=compiled /srv/podtask /srv/podtask
ENV PYTHONPATH=/srv/podtask PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
# uvloop has a buffer of 256 KiB for each TLS connection, of which there are 64 while much is done. glibc raises its
# thresholds to what it sees freed and keeps such blocks for good then; with a threshold that is given, which is its own
# default, they go back when the connections close, and idle memory does not creep.
ENV MALLOC_TRIM_THRESHOLD_=131072
# A number, so that runAsNonRoot can be checked without a passwd file. Any other works too.
USER 65532:65532
ENTRYPOINT ["/opt/podtask/bin/python3", "-m", "podtask"]
