"""Weights from the hub: one commit, safetensors only, every file checked against its hash.

Files go through the hub's own cache, so that a broken download resumes and weights that are there
already are not fetched again; they are hard-linked from it where the file system allows that.
The access token is left to huggingface_hub (HF_TOKEN or its own store) and never read here.
"""

import io
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from repro.errors import EXIT_MISSING, ReproError
from repro.models.files import PATTERNS, check_folder, git_blob_id, is_weights, sha256, wanted
from repro.models.spec import ModelSpec

# How the command line overrides fields of [model].
REVISION_FLAG = "--model revision="
REPO_FLAG = "--model repo="


@dataclass(frozen=True)
class Listed:
    """What the hub says of a file: its git blob id, or the sha256 where it is a large file."""

    blob_id: str
    sha256: str | None


def download(spec: ModelSpec, folder: Path, *, progress: Any = None) -> dict[str, str]:
    """Download the spec's repository into a folder and check every file.

    Returns:
        How each file was checked: "pinned" (against the kit's or the profile's hash) or "listed"
        (against the hub's listing of the commit).

    Raises:
        ReproError: exit code 3, when there is no revision, no access, no connection, no complete
            set of safetensors, or a file that does not match.
    """
    require_revision(spec)
    listing = _listing(spec)
    if listing is not None:
        _check_listing(spec, listing)
    elif not any(map(is_weights, spec.sha256)):
        raise _offline(spec, "and weights without a pinned hash cannot be checked without it")
    source = _snapshot(spec, progress, offline=listing is None)
    files = [path for path in sorted(source.iterdir()) if path.is_file() and wanted(path.name)]
    checked = {path.name: _verify(spec, path, listing) for path in files}
    check_folder(source, what=f"{spec.repo} at {spec.revision[:12]}")
    for path in files:
        _link_or_copy(path.resolve(), folder / path.name)
    return checked


def reach(spec: ModelSpec) -> str:
    """Ask whether the repository could be downloaded, with one small request; see `require`."""
    require_revision(spec)
    if _cached(spec):
        return "in the hub's cache"
    with _explained(spec):
        _ask(spec)
    return f"{spec.repo} can be read"


def _ask(spec: ModelSpec) -> None:
    """One request without retries, as gated as the weights are: fails at once where they would."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url  # slow to import

    url = hf_hub_url(spec.repo, "config.json", revision=spec.revision, endpoint=_endpoint())
    get_hf_file_metadata(url, endpoint=_endpoint())


def require_revision(spec: ModelSpec) -> None:
    """Raise ReproError (exit code 3) for a repository without a commit."""
    if not spec.revision:
        raise ReproError(
            f"no revision is pinned for {spec.repo}: the kit's authors could not look at it",
            hint=f"take the commit from {_page(spec)}/commits/main and give it as "
            f'{REVISION_FLAG}COMMIT, or as revision = "COMMIT" in [model] of the profile',
            exit_code=EXIT_MISSING,
        )


def _listing(spec: ModelSpec) -> dict[str, Listed] | None:
    """The files at the top of the commit, or None without a connection but with a cached copy."""
    from huggingface_hub import HfApi  # slow to import
    from huggingface_hub.hf_api import RepoFile

    try:
        with _explained(spec):
            _ask(spec)
            entries = HfApi(endpoint=_endpoint()).list_repo_tree(
                spec.repo, revision=spec.revision, recursive=False
            )
            return {
                entry.path: Listed(entry.blob_id, entry.lfs.sha256 if entry.lfs else None)
                for entry in entries
                if isinstance(entry, RepoFile)
            }
    except _UnreachableError:
        if _cached(spec):
            return None
        raise


def _check_listing(spec: ModelSpec, listing: dict[str, Listed]) -> None:
    for name, pinned in spec.sha256.items():
        if name not in listing:
            raise _refused(spec, f"{name} is missing from the repository")
        found = listing[name].sha256
        if found is not None and found != pinned:
            raise _refused(
                spec, f"{name} does not match its hash: expected sha256 {pinned}, listed {found}"
            )
    if not any(is_weights(name) for name in listing):
        pickles = [name for name in listing if name.endswith((".bin", ".pt", ".pth"))]
        what = "only pickled weights, which can run code" if pickles else "no weights"
        raise _refused(spec, f"the repository has no safetensors, {what}")


def _snapshot(spec: ModelSpec, progress: Any = None, *, offline: bool) -> Path:
    """The commit's folder in the hub's cache, downloaded unless offline."""
    from huggingface_hub import snapshot_download  # slow to import

    def fetch(**more: Any) -> Path:
        return Path(
            snapshot_download(
                spec.repo,
                revision=spec.revision,
                endpoint=_endpoint(),
                allow_patterns=list(PATTERNS),
                local_files_only=offline,
                tqdm_class=_bars(progress),
                **more,
            )
        )

    with _explained(spec):
        try:
            return fetch()
        except OSError as error:
            if error.errno is not None or "Consistency check" not in str(error):
                raise
            return fetch(force_download=True)  # a file was shorter than announced


def _cached(spec: ModelSpec) -> bool:
    """Whether the hub's cache holds a complete model of this commit; its hashes are not checked."""
    try:
        check_folder(_snapshot(spec, offline=True), what=spec.repo)
    except ReproError:
        return False
    return True


def _verify(spec: ModelSpec, path: Path, listing: dict[str, Listed] | None) -> str:
    """How the file was checked; raises ReproError when it is not what it must be."""
    name = path.name
    if name in spec.sha256:
        how, expected, found = "pinned", spec.sha256[name], sha256(path)
    elif listing is None:
        if is_weights(name):
            raise _offline(spec, f"and {name} has no pinned hash to check it against")
        return "not checked: offline"
    elif name not in listing:
        raise _refused(spec, f"{name} is in the cache, but not in the repository")
    else:
        listed = listing[name]
        how, expected = "listed", listed.sha256 or listed.blob_id
        found = sha256(path) if listed.sha256 else git_blob_id(path)
    if found != expected:
        raise ReproError(
            f"{spec.repo}: {name} does not match its hash: expected {expected}, found {found}",
            hint=f"fetch it again: hf download {spec.repo} {name} --revision {spec.revision} "
            "--force-download",
            exit_code=EXIT_MISSING,
        )
    return how


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without hard links
        shutil.copyfile(source, target)


class _UnreachableError(ReproError):
    """The hub does not answer: told apart, since a cached copy may do."""


@contextmanager
def _explained(spec: ModelSpec) -> Iterator[None]:
    """Turn the hub's errors into what the user can do about them (exit code 3).

    Only the status goes into messages: the hub's own text can be long and is not ours to vet.
    """
    from huggingface_hub import errors

    try:
        yield
    except errors.RevisionNotFoundError:
        raise ReproError(
            f"{spec.repo} has no revision {spec.revision}",
            hint=f"take a commit from {_page(spec)}/commits/main for {REVISION_FLAG}COMMIT",
            exit_code=EXIT_MISSING,
        ) from None
    except errors.HfHubHTTPError as error:
        status = error.response.status_code
        gated = isinstance(error, errors.GatedRepoError) or spec.gated or status == 403
        if gated and status in (401, 403):
            raise _no_access(spec, status) from None
        if status in (401, 404):
            raise ReproError(
                f"{spec.repo} is not on the hub, or not for this token (HTTP {status})",
                hint="check the name; for a private repository set HF_TOKEN or run: hf auth login",
                exit_code=EXIT_MISSING,
            ) from None
        raise ReproError(
            f"the hub answered HTTP {status} for {spec.repo}",
            hint="run the same command again later: finished downloads are kept",
            exit_code=EXIT_MISSING,
        ) from None
    # HTTPError is that of its HTTP client, httpx or httpx2 by version.
    except (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled, errors.HTTPError):
        raise _offline(spec, "and no complete copy is in its cache") from None
    except (ImportError, ValueError, RuntimeError, TypeError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # of the disk
            raise
        raise _client_fault(spec, error) from None


def _no_access(spec: ModelSpec, status: int) -> ReproError:
    hint = f"accept the licence at {_page(spec)}, then set HF_TOKEN or run: hf auth login"
    if spec.alternative:
        hint += (
            f"; or take the same weights, not gated, from {spec.alternative}: "
            f"{REPO_FLAG}{spec.alternative}"
        )
    return ReproError(
        f"no access to {spec.repo}: it is gated, and the hub wants a token of somebody who "
        f"accepted its licence (HTTP {status})",
        hint=hint,
        exit_code=EXIT_MISSING,
    )


_TOKENS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")
_PROXIES = ("ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY")


def _client_fault(spec: ModelSpec, error: Exception) -> ReproError:
    """What keeps the hub's client from asking: mostly a variable. No value of one is shown."""
    said = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    tokens = [name for name in _TOKENS if not os.environ.get(name, "").isascii()]
    proxies = [n for name in _PROXIES for n in (name, name.lower()) if os.environ.get(n)]
    hint = "run the same command again; if it stays so, copy the model folder here and name it: "
    hint += "--model kind=folder --model path=FOLDER"
    if tokens and isinstance(error, UnicodeError):
        said = f"{tokens[0]} holds a character that no token has"
        hint = f"set {tokens[0]} again, as the hub shows it"
    elif proxies and not isinstance(error, OSError):
        values = [os.environ[name] for name in proxies]
        shown = "its value is not usable" if any(value in said for value in values) else said
        said = f"the proxy that {proxies[0]} names cannot be used: {shown}"
        hint = f"unset {proxies[0]}, or name an HTTP proxy: {proxies[0]}=http://HOST:PORT"
    return ReproError(
        f"the hub cannot be asked for {spec.repo}: {said}", hint=hint, exit_code=EXIT_MISSING
    )


def _offline(spec: ModelSpec, also: str) -> _UnreachableError:
    return _UnreachableError(
        f"the hub cannot be reached for {spec.repo}, {also}",
        hint="check the connection (and HF_HUB_OFFLINE, HF_ENDPOINT), or copy the model folder "
        'here and set kind = "folder", path = "..." in [model] of the profile',
        exit_code=EXIT_MISSING,
    )


def _refused(spec: ModelSpec, message: str) -> ReproError:
    return ReproError(
        f"{spec.repo} at {spec.revision[:12]}: {message}",
        hint=f"check repo and revision, or give others: {REPO_FLAG}NAME {REVISION_FLAG}COMMIT",
        exit_code=EXIT_MISSING,
    )


def _page(spec: ModelSpec) -> str:
    return f"https://huggingface.co/{spec.repo}"


def _endpoint() -> str | None:
    """Read now, not when huggingface_hub was imported."""
    return os.environ.get("HF_ENDPOINT") or None


def _bars(progress: Any) -> type:
    """A tqdm class that shows its byte counts in a rich Progress, or nowhere."""
    from tqdm import tqdm  # type: ignore[import-untyped]

    class Bar(tqdm):  # what huggingface_hub asks for is a tqdm class
        def __init__(self, *args: Any, **options: Any) -> None:
            self.task = None
            bytes_counted = options.get("unit") == "B"
            if progress is not None and bytes_counted:
                self.task = progress.add_task(str(options.get("desc", "download")), total=None)
            hidden = {"file": io.StringIO(), "disable": self.task is None}
            super().__init__(*args, **{**options, **hidden})

        def display(self, *args: Any, **options: Any) -> None:
            if self.task is not None:
                text = str(self.desc).removesuffix(": ")
                progress.update(
                    self.task, completed=self.n, total=self.total or None, description=text
                )

        def close(self) -> None:
            self.display()
            super().close()

    return Bar
