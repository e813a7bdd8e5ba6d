"""The Hugging Face hub: a model is downloaded from it by its name, and uploaded to it.

A model is four files in a repository: ``config.json``, ``tokenizer.json``, ``model.safetensors``
and the model card ``README.md``. Nothing else is downloaded or uploaded.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lstm_lm.errors import HubError, InputError, RunDirectoryError
from lstm_lm.files.run_files import CARD_FILE, CONFIG_FILE, TOKENIZER_FILE, WEIGHTS_FILE

if TYPE_CHECKING:
    from huggingface_hub import HfApi

HUB_PREFIX = "hub:"  # `hub:user/name` always means the hub
MODEL_FILES = (CONFIG_FILE, TOKENIZER_FILE, WEIGHTS_FILE, CARD_FILE)

_HUB_NAME = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)?")
_PART = r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?"
_NEW_NAME = re.compile(f"{_PART}/{_PART}")
_LONGEST_NAME = 96
_SECONDS_TO_WAIT = 10


def find_folder(
    name_or_path: str | Path, *, revision: str | None = None, token: str | None = None
) -> Path:
    """The directory of that path, or a hub repository, downloaded or from the hub's cache.

    A name whose first part is a folder here, or ``runs``, is a directory that is missing; the hub
    is not asked. ``hub:user/name`` always means the hub.

    Args:
        name_or_path: a directory, or a hub name.
        revision: hub: branch, tag or commit; the default branch if None.
        token: hub: access token; `$HF_TOKEN` or the saved login if None.

    Raises:
        RunDirectoryError: there is no such directory, it is a file, or it has no revisions.
        HubError: the hub is out of reach, or has no such repository or revision.
    """
    name = str(name_or_path)
    if not name.startswith(HUB_PREFIX):
        if os.path.isdir(name):
            if revision is not None:
                raise RunDirectoryError(
                    f"{name}: is a directory here, which has no revision {revision!r}; leave it "
                    f"out, or write hub:{name} for the hub"
                )
            return Path(name)
        if os.path.exists(name):
            raise RunDirectoryError(f"{name}: is a file; give the run directory that it is in")
        first = name.partition("/")[0]
        is_missing_directory = first == "runs" or os.path.isdir(first)
        if is_missing_directory or not _HUB_NAME.fullmatch(name):
            raise RunDirectoryError(
                f"{name}: no such directory (looked in {os.getcwd()}); `lstm-lm train CONFIG.yaml` "
                "makes one"
            )
    return _download(name.removeprefix(HUB_PREFIX), name, revision, token)


def _download(repository: str, name: str, revision: str | None, token: str | None) -> Path:
    """Downloads the model files of a repository; those in the hub's cache are not fetched again."""
    from huggingface_hub import errors, snapshot_download

    try:
        with _quiet_without_terminal():
            folder = snapshot_download(
                repository,
                revision=revision,
                token=token,
                etag_timeout=_SECONDS_TO_WAIT,
                allow_patterns=list(MODEL_FILES),
            )
        return Path(folder)
    except errors.RevisionNotFoundError as error:
        raise HubError(
            f"{name}: the hub has no revision {revision!r} of it; give a branch, a tag or a commit"
        ) from error
    except Exception as error:  # the hub's client raises many kinds, those of its HTTP library too
        hidden = isinstance(error, errors.RepositoryNotFoundError)
        private = "; if it is private, set HF_TOKEN or run `hf auth login`" if hidden else ""
        raise HubError(
            f"{name}: no such directory here, and the hub has no such model, or is out of reach "
            f"({type(error).__name__}); train one with `lstm-lm train`, check the name, or go "
            f"online{private}"
        ) from error


@contextmanager
def _quiet_without_terminal() -> Iterator[None]:
    """Hides the bars of the hub's client where standard error is no terminal."""
    from huggingface_hub import utils as bars

    hides = not (sys.stderr.isatty() or os.environ.get("HF_HUB_DISABLE_PROGRESS_BARS"))
    if hides:
        bars.disable_progress_bars()  # type: ignore[attr-defined]
    try:
        yield
    finally:
        if hides:
            bars.enable_progress_bars()  # type: ignore[attr-defined]


@contextmanager
def errors_of_hub_model(name_or_path: str | Path, folder: Path) -> Iterator[None]:
    """Makes errors about a downloaded folder name the repository instead of the hub's cache.

    Args:
        name_or_path: what the user gave.
        folder: what `find_folder` returned for it.

    Raises:
        HubError: inside the ``with`` block, a `RunDirectoryError` was raised about a hub model.
    """
    try:
        yield
    except RunDirectoryError as error:
        name = str(name_or_path)
        if os.path.isdir(name) and not name.startswith(HUB_PREFIX):
            raise
        title = HUB_PREFIX + name.removeprefix(HUB_PREFIX)
        if not (folder / CONFIG_FILE).exists():
            raise HubError(
                f"{title}: this repository has no {CONFIG_FILE}, so it is no model of lstm_lm; "
                "check the name, or push one with `lstm-lm push RUN_DIR NAME`"
            ) from error
        raise HubError(str(error).replace(str(folder), title)) from error


@dataclass(frozen=True)
class Pushed:
    """What `upload` returns.

    Attributes:
        address: of the repository, for a browser.
        revision: the branch.
        commit: its id.
        files: name -> size in bytes.
        private: whether the repository is private.
    """

    address: str
    revision: str
    commit: str
    files: dict[str, int]
    private: bool


def check_name(name: str) -> str:
    """Returns the name of a repository that can be uploaded to, without ``hub:``.

    Raises:
        InputError: it is not ``user/name``.
    """
    repository = name.removeprefix(HUB_PREFIX)
    if (
        not _NEW_NAME.fullmatch(repository)
        or len(repository) > _LONGEST_NAME
        or "--" in repository
        or ".." in repository
        or repository.endswith(".git")
    ):
        raise InputError(
            f"{name!r} is no name on the hub; give user/name, of letters, digits, and single "
            f"-, _ or . between them, at most {_LONGEST_NAME} characters"
        )
    return repository


def check_token(token: str | None) -> str:
    """Returns the access token: the given one, `$HF_TOKEN`, or the saved login.

    Raises:
        HubError: there is none.
    """
    from huggingface_hub import get_token

    found = token or get_token()
    if not found:
        raise HubError(
            "no access token for the hub; set HF_TOKEN, run `hf auth login`, or give --token (a "
            "token that may write: https://huggingface.co/settings/tokens)"
        )
    return found


def upload(
    folder: Path,
    name: str,
    *,
    private: bool = False,
    revision: str | None = None,
    token: str | None = None,
    overwrite: bool = False,
    message: str = "Upload an lstm_lm model",
) -> Pushed:
    """Uploads the four model files of a folder as one commit, and makes the repository if missing.

    A model of lstm_lm that is there is replaced; the repository keeps it in its history.

    Args:
        folder: with all of `MODEL_FILES`; other files are not uploaded.
        name: ``user/name``.
        private: whether a repository that is made is private. One that is there must be.
        revision: the branch, which is made if missing; None for ``main``.
        token: see `check_token`.
        overwrite: replace files that lstm_lm did not make, too.
        message: of the commit.

    Raises:
        InputError: the name is wrong.
        HubError: there is no token, the hub is out of reach or refuses, or the repository has
            files that lstm_lm did not make.
    """
    from huggingface_hub import CommitOperationAdd, HfApi

    repository, branch = check_name(name), revision or "main"
    api = HfApi(token=check_token(token))
    with _hub_refuses(repository), _quiet_without_terminal():
        is_new = not api.repo_exists(repository)
        is_private = private if is_new else bool(api.repo_info(repository).private)
        if private and not is_private:
            raise HubError(
                f"{repository}: is there already, and public; make it private in its settings on "
                "the hub, or choose another name"
            )
        made = api.create_repo(repository, private=private, exist_ok=True)
        if branch != "main":
            api.create_branch(repository, branch=branch, exist_ok=True)
        if not is_new and not overwrite:
            _check_ours(api, repository, branch)
        files = [
            CommitOperationAdd(path_in_repo=name, path_or_fileobj=folder / name)
            for name in MODEL_FILES
        ]
        commit = api.create_commit(repository, files, commit_message=message, revision=branch)
        sizes = {name: (folder / name).stat().st_size for name in MODEL_FILES}
    return Pushed(str(made), branch, str(commit.oid), sizes, is_private)


def _check_ours(api: HfApi, repository: str, branch: str) -> None:
    """Checks that the files that an upload would replace were made by lstm_lm.

    Raises:
        HubError: one was not.
    """
    names = api.list_repo_files(repository, revision=branch)
    there = [name for name in MODEL_FILES if name in names]
    if not there:
        return
    found = _read_remote(api, repository, branch, CONFIG_FILE) if CONFIG_FILE in there else ""
    if not is_ours(_parse(found)):
        raise HubError(
            f"{repository}: has {there[0]} that lstm_lm did not make; choose another name, or add "
            "--overwrite"
        )


def _read_remote(api: HfApi, repository: str, branch: str, name: str) -> str:
    """Returns the text of a file of a repository."""
    path = api.hf_hub_download(
        repository, name, revision=branch, etag_timeout=_SECONDS_TO_WAIT, force_download=True
    )
    return Path(path).read_text(encoding="utf-8", errors="replace")


def _parse(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def is_ours(config: Any) -> bool:
    """Whether the content of a ``config.json`` is that of a model of lstm_lm, of any version."""
    return isinstance(config, dict) and "format_version" in config and "model" in config


@contextmanager
def _hub_refuses(repository: str) -> Iterator[None]:
    """Turns every error of the hub's client into a `HubError` of one line."""
    from huggingface_hub import errors

    try:
        yield
    except HubError:
        raise
    except errors.OfflineModeIsEnabled as error:
        raise HubError(
            f"{repository}: the hub is not asked, because HF_HUB_OFFLINE is set; unset it"
        ) from error
    except errors.HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else None
        remedies = {
            401: "the hub does not accept the access token; make one that may write",
            403: "the access token may not write there; check the name, or make one that may",
            404: "the hub has no such repository, or the access token may not see it",
        }
        said = " ".join(str(getattr(error, "server_message", "") or "").split())
        reason = remedies.get(status or 0, f"the hub answered with an error ({status})")
        raise HubError(f"{repository}: {reason}{f' (it says: {said})' if said else ''}") from error
    except Exception as error:  # the hub's client raises many kinds, those of its HTTP library too
        reason = " ".join(str(error).split()) or type(error).__name__
        raise HubError(
            f"{repository}: the hub did not take the model ({reason}); go online, or try again"
        ) from error
