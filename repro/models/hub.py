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
from pathlib import Path
from typing import TYPE_CHECKING, Any

from repro.errors import EXIT_MISSING, ReproError, missing
from repro.files import file_sha256, git_blob_id
from repro.models.files import PATTERNS, check_folder, is_weights, model_files
from repro.models.spec import ModelSpec

if TYPE_CHECKING:
    from huggingface_hub.hf_api import RepoFile

# How the command line overrides fields of [model].
REVISION_FLAG = "--model revision="
REPO_FLAG = "--model repo="


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
    files = model_files(source)
    checked = {path.name: _verify(spec, path, listing) for path in files}
    check_folder(source, what=f"{spec.repo} at {spec.revision[:12]}")
    for path in files:
        try:
            os.link(path.resolve(), folder / path.name)
        except OSError:  # another file system, or one without hard links
            shutil.copyfile(path, folder / path.name)
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
        raise missing(
            f"no revision is pinned for {spec.repo}: the kit's authors could not look at it",
            f"take the commit from {_page(spec)}/commits/main and give it as "
            f'{REVISION_FLAG}COMMIT, or as revision = "COMMIT" in [model] of the profile',
        )


def _listing(spec: ModelSpec) -> "dict[str, RepoFile] | None":
    """The files at the top of the commit, or None without a connection but with a cached copy."""
    from huggingface_hub import HfApi  # slow to import
    from huggingface_hub.hf_api import RepoFile

    try:
        with _explained(spec):
            _ask(spec)
            entries = HfApi(endpoint=_endpoint()).list_repo_tree(
                spec.repo, revision=spec.revision, recursive=False
            )
            return {entry.path: entry for entry in entries if isinstance(entry, RepoFile)}
    except _UnreachableError:
        if _cached(spec):
            return None
        raise


def _check_listing(spec: ModelSpec, listing: "dict[str, RepoFile]") -> None:
    for name, pinned in spec.sha256.items():
        if name not in listing:
            raise _refused(spec, f"{name} is missing from the repository")
        large = listing[name].lfs
        if large and large.sha256 != pinned:
            differ = f"expected sha256 {pinned}, listed {large.sha256}"
            raise _refused(spec, f"{name} does not match its hash: {differ}")
    if not any(map(is_weights, listing)):
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


def _verify(spec: ModelSpec, path: Path, listing: "dict[str, RepoFile] | None") -> str:
    """How the file was checked; raises ReproError when it is not what it must be."""
    name = path.name
    if name in spec.sha256:
        how, expected, found = "pinned", spec.sha256[name], file_sha256(path)
    elif listing is None:
        if is_weights(name):
            raise _offline(spec, f"and {name} has no pinned hash to check it against")
        return "not checked: offline"
    elif name not in listing:
        raise _refused(spec, f"{name} is in the cache, but not in the repository")
    elif large := listing[name].lfs:
        how, expected, found = "listed", large.sha256, file_sha256(path)
    else:
        how, expected, found = "listed", listing[name].blob_id, git_blob_id(path.read_bytes())
    if found != expected:
        raise missing(
            f"{spec.repo}: {name} does not match its hash: expected {expected}, found {found}",
            f"fetch it again: hf download {spec.repo} {name} --revision {spec.revision} "
            "--force-download",
        )
    return how


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
        raise missing(
            f"{spec.repo} has no revision {spec.revision}",
            f"take a commit from {_page(spec)}/commits/main for {REVISION_FLAG}COMMIT",
        ) from None
    except errors.HfHubHTTPError as error:
        status = error.response.status_code
        gated = isinstance(error, errors.GatedRepoError) or spec.gated or status == 403
        if gated and status in (401, 403):
            hint = f"accept the licence at {_page(spec)}, then set HF_TOKEN or run: hf auth login"
            if same := spec.alternative:
                hint += f"; or take the same weights, not gated, from {same}: {REPO_FLAG}{same}"
            raise missing(
                f"no access to {spec.repo}: it is gated, and the hub wants a token of somebody "
                f"who accepted its licence (HTTP {status})",
                hint,
            ) from None
        if status in (401, 404):
            raise missing(
                f"{spec.repo} is not on the hub, or not for this token (HTTP {status})",
                "check the name; for a private repository set HF_TOKEN or run: hf auth login",
            ) from None
        raise missing(
            f"the hub answered HTTP {status} for {spec.repo}",
            "run the same command again later: finished downloads are kept",
        ) from None
    # HTTPError is that of its HTTP client, httpx or httpx2 by version.
    except (errors.LocalEntryNotFoundError, errors.OfflineModeIsEnabled, errors.HTTPError):
        raise _offline(spec, "and no complete copy is in its cache") from None
    except (ImportError, ValueError, RuntimeError, TypeError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # of the disk
            raise
        raise _client_fault(spec, error) from None


_TOKENS = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")
_PROXIES = ("ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY")


def _client_fault(spec: ModelSpec, error: Exception) -> ReproError:
    """What keeps the hub's client from asking: mostly a variable. No value of one is shown."""
    said = next(iter(str(error).strip().splitlines()), type(error).__name__)
    tokens = [name for name in _TOKENS if not os.environ.get(name, "").isascii()]
    proxies = [n for name in _PROXIES for n in (name, name.lower()) if os.environ.get(n)]
    hint = "run the same command again; if it stays so, copy the model folder here and name it: "
    hint += "--model kind=folder --model path=FOLDER"
    if tokens and isinstance(error, UnicodeError):
        said = f"{tokens[0]} holds a character that no token has"
        hint = f"set {tokens[0]} again, as the hub shows it"
    elif proxies and not isinstance(error, OSError):
        hidden = any(os.environ[name] in said for name in proxies)
        shown = "its value is not usable" if hidden else said
        said = f"the proxy that {proxies[0]} names cannot be used: {shown}"
        hint = f"unset {proxies[0]}, or name an HTTP proxy: {proxies[0]}=http://HOST:PORT"
    return missing(f"the hub cannot be asked for {spec.repo}: {said}", hint)


def _offline(spec: ModelSpec, also: str) -> _UnreachableError:
    return _UnreachableError(
        f"the hub cannot be reached for {spec.repo}, {also}",
        hint="check the connection (and HF_HUB_OFFLINE, HF_ENDPOINT), or copy the model folder "
        'here and set kind = "folder", path = "..." in [model] of the profile',
        exit_code=EXIT_MISSING,
    )


def _refused(spec: ModelSpec, message: str) -> ReproError:
    return missing(
        f"{spec.repo} at {spec.revision[:12]}: {message}",
        f"check repo and revision, or give others: {REPO_FLAG}NAME {REVISION_FLAG}COMMIT",
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
            options |= {"file": io.StringIO(), "disable": self.task is None}
            super().__init__(*args, **options)

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
