"""Upload of an export to the Hugging Face hub."""

from collections.abc import Callable
from pathlib import Path
from typing import Literal

from repro.errors import EXIT_MISSING, ReproError


def push(
    folder: Path, repo: str, kind: Literal["dataset", "model"], say: Callable[[str], None]
) -> None:
    """Put a folder's files into a repository, which is made if it is not there, and then private.

    Raises:
        ReproError: the hub refuses, or cannot be reached (3).
    """
    from huggingface_hub import HfApi, errors  # not part of the light install

    api = HfApi()
    try:
        api.create_repo(repo, repo_type=kind, private=True, exist_ok=True)
        done = api.upload_folder(
            folder_path=folder, repo_id=repo, repo_type=kind, commit_message="Export of repro"
        )
    except errors.HfHubHTTPError as error:
        status = error.response.status_code
        raise ReproError(
            f"the hub does not take {repo}: HTTP {status}",
            hint="name a repository of yours as OWNER/NAME, and set HF_TOKEN to a token that may "
            "write, or run: hf auth login",
            exit_code=EXIT_MISSING,
        ) from None
    except errors.HFValidationError as error:
        raise ReproError(str(error), hint="--push OWNER/NAME") from None
    except (errors.HTTPError, errors.OfflineModeIsEnabled, errors.LocalTokenNotFoundError):
        raise ReproError(
            f"the hub cannot be reached for {repo}",
            hint="check the connection (and HF_HUB_OFFLINE, HF_ENDPOINT) and HF_TOKEN; or upload "
            f"the folder elsewhere: hf upload {repo} {folder} --repo-type {kind}",
            exit_code=EXIT_MISSING,
        ) from None
    say(f"{repo} on the hub, private: {done.commit_url}")
