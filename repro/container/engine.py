"""Docker through its SDK: building, running, saving and looking into images."""

import hashlib
import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import requests
from docker import DockerClient, errors, from_env
from docker.models.containers import Container
from docker.types import DeviceRequest, Mount

from repro.container import image as images
from repro.container import lock
from repro.errors import EXIT_FAILED, EXIT_MISSING, ReproError

STOP_SECONDS = 60
"""How long a container may take to keep its work when it is stopped."""

PATIENCE = 600
"""Seconds without an answer after which the engine counts as stuck; large images take minutes."""

_STEP = re.compile(r"Step (\d+)/(\d+) : (.*)")


@contextmanager
def _told() -> Iterator[None]:
    """Turns the engine's errors into the kit's."""
    try:
        yield
        return
    except errors.ImageNotFound as error:
        what = str(error.explanation)
        hint = "repro docker build, or name one that `docker images` lists"
    except errors.APIError as error:
        said = str(error.explanation or error)
        what, hint = f"the Docker engine: {said}", "see the message of the engine above"
        if "could not select device driver" in said or "nvidia" in said.lower():
            hint = (
                "GPUs in containers need the NVIDIA driver 580.65.06 or later and the NVIDIA "
                "Container Toolkit on the host (check: nvidia-smi); without: --gpus none"
            )
    except requests.exceptions.Timeout:
        what = f"the Docker engine did not answer within {PATIENCE} seconds"
        hint = "see whether it is busy (docker info), then run the same command again"
    except (errors.DockerException, requests.exceptions.RequestException) as error:
        what = f"no Docker engine answers: {error}"
        hint = "start it (systemctl start docker) or set DOCKER_HOST; your user must be in "
        hint += "the group docker"
    raise ReproError(what, hint=hint, exit_code=EXIT_MISSING)


def connect() -> DockerClient:
    """The engine that DOCKER_HOST names, or this machine's; raises ReproError (3) without one."""
    with _told():
        client = from_env(timeout=PATIENCE)
        client.ping()
        return client


def build(
    client: DockerClient,
    variant: str,
    *,
    tag: str,
    arguments: Mapping[str, str],
    network: str | None,
    cache: bool,
    progress: Callable[[int, int, str], None],
    log: Callable[[str], None],
) -> str:
    """Builds the image of a variant from this checkout; returns its id.

    Args:
        arguments: build arguments besides those that the checkout gives.
        network: of the build, such as "host"; None for the engine's default.
        progress: called with the step, their number and the instruction.
        log: called with every other line.

    Raises:
        ReproError: a step failed (1), or the engine does not answer (3).
    """
    last = ""
    with _told():
        stream = client.api.build(
            path=str(lock.ROOT),
            tag=tag,
            buildargs=images.build_arguments(variant) | dict(arguments),
            network_mode=network,
            nocache=not cache,
            rm=True,
            forcerm=True,
            decode=True,
        )
        for event in stream:
            if error := event.get("error"):
                raise ReproError(
                    f"the build failed: {error.strip()}{': ' + last if last else ''}",
                    hint="see the lines above; files are fetched from PyPI, torch's index and "
                    "the archive of the system's packages",
                    exit_code=EXIT_FAILED,
                )
            for line in event.get("stream", "").splitlines():
                if step := _STEP.match(line):
                    progress(int(step[1]), int(step[2]), step[3])
                elif line.strip():
                    last = line.strip()
                    log(line.rstrip())
        return str(client.images.get(tag).id)


def _devices(gpus: str) -> list[DeviceRequest]:
    if gpus == "none":
        return []
    if gpus == "all":
        return [DeviceRequest(count=-1, capabilities=[["gpu"]])]
    numbers = gpus.split(",")
    if not all(number.isdecimal() for number in numbers):
        raise ReproError(
            f"--gpus takes all, none or numbers, not '{gpus}'", hint="--gpus all, or --gpus 0,1"
        )
    return [DeviceRequest(device_ids=numbers, capabilities=[["gpu"]])]


def _mounts(results: Path, cache: Path, data: Path | None) -> Iterator[Mount]:
    for target, folder in (("/results", results), ("/cache", cache), ("/data", data)):
        if folder is None:
            continue
        read_only = target == "/data"
        try:
            if not read_only:
                folder.mkdir(parents=True, exist_ok=True)
            whole = folder.resolve(strict=True)
        except OSError as error:
            raise ReproError(
                f"{folder} cannot be used as {target}: {error.strerror}",
                hint="name another folder: repro docker run --help",
                exit_code=EXIT_MISSING,
            ) from None
        yield Mount(target, str(whole), type="bind", read_only=read_only)


def run(
    client: DockerClient,
    image: str,
    words: Sequence[str],
    *,
    gpus: str,
    results: Path,
    cache: Path,
    data: Path | None,
    offline: bool,
    shared_memory: str,
    user: str,
) -> int:
    """Runs a command of the kit in an image, its output passed on; returns its exit code.

    The root file system is read-only, /tmp apart. An interrupt stops the container, which keeps
    its finished work, and removes it.

    Args:
        gpus: "all", "none", or numbers of GPUs ("0,2").
        cache: folder for weights, downloads and the store of finished steps.
        data: folder with the authors' data; None lets the kit fetch it.
        shared_memory: size of /dev/shm ("1g"), which GPUs that work together need.
        user: "UID:GID" that owns what is written.

    Raises:
        ReproError: no engine, image or GPU, or a folder that cannot be mounted (3).
    """
    environment = {name: os.environ[name] for name in ("HF_TOKEN",) if name in os.environ}
    if data is not None:
        environment["REPRO_UPSTREAM_DATA"] = "/data"
    terminal = sys.stdout.isatty()
    with _told():
        container = client.containers.create(
            image,
            list(words) or None,
            device_requests=_devices(gpus),
            mounts=list(_mounts(results, cache, data)),
            environment=environment,
            network_mode="none" if offline else None,
            read_only=True,
            shm_size=shared_memory,
            tmpfs={"/tmp": "exec"},
            tty=terminal,
            user=user,
            cap_drop=["ALL"],
            security_opt=["no-new-privileges"],
        )
        try:
            return _follow(container, terminal)
        except KeyboardInterrupt:
            container.stop(timeout=STOP_SECONDS)
            raise
        finally:
            container.remove(force=True)


def _follow(container: Container, terminal: bool) -> int:
    """Starts a container and copies its output to ours; returns its exit code."""
    output = container.attach(stream=True, logs=True, demux=not terminal)
    container.start()
    if terminal:
        size = shutil.get_terminal_size()
        container.resize(size.lines, size.columns)
    for part in output:
        said = (part, None) if terminal else part
        for stream, content in zip((sys.stdout, sys.stderr), said, strict=True):
            if content:
                stream.buffer.write(content)
                stream.flush()
    return int(container.wait()["StatusCode"])


def labels(client: DockerClient, image: str) -> dict[str, str]:
    """The labels of an image."""
    with _told():
        return dict(client.images.get(image).labels or {})


def listing(client: DockerClient, image: str) -> dict[str, Any]:
    """What the image's own Python says is installed; see `image.LISTING`."""
    found: dict[str, Any] = json.loads(
        _inside(client, image, "/opt/venv/bin/python", "-c", images.LISTING)
    )
    return found


def _inside(client: DockerClient, image: str, program: str, *words: str) -> str:
    with _told():
        output = client.containers.run(
            image, list(words), entrypoint=[program], network_mode="none", remove=True
        )
    return bytes(output).decode()


def save(
    client: DockerClient, image: str, folder: Path, *, progress: Callable[[int, int], None]
) -> dict[str, Any]:
    """Writes an image as NAME.tar, with its bill of materials and NAME.json, which is returned.

    That holds tags, id, labels, sha256 and size (bytes) of the archive. `progress` is called with
    the bytes written and about how many there will be.
    """
    found = labels(client, image)
    variant = found.get(images.VARIANT_LABEL, "")
    if variant not in lock.VARIANTS:
        raise ReproError(f"{image} is no image of the kit", hint="repro docker build")
    inside = listing(client, image)
    form = "-f=${Package}\t${Version}\t${Architecture}\n"
    system = _inside(client, image, "/usr/bin/dpkg-query", "-W", form)
    folder.mkdir(parents=True, exist_ok=True)
    name = re.sub(r"[^\w.-]+", "-", image)
    archive, part = folder / f"{name}.tar", folder / f"{name}.tar.part"
    digest, written = hashlib.sha256(), 0
    try:
        with _told(), part.open("wb") as out:
            there = client.images.get(image)
            for chunk in there.save(named=True):
                digest.update(chunk)
                written += out.write(chunk)
                progress(written, int(there.attrs["Size"]))
        part.replace(archive)
    finally:
        part.unlink(missing_ok=True)
    facts = {
        "archive": archive.name,
        "sha256": digest.hexdigest(),
        "size": written,
        "id": there.id,
        "tags": there.tags,
        "labels": found,
        "python": inside["python"],
    }
    bill = images.bill(variant, inside, system)
    for suffix, content in (("cdx.json", bill), ("json", facts)):
        text = json.dumps(content, indent=1, sort_keys=True) + "\n"
        (folder / f"{name}.{suffix}").write_text(text, encoding="utf-8")
    return facts
