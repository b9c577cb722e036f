"""Models on the Hugging Face Hub: a repository with run.json, model.safetensors and a model card.

Its address is hf://owner/name or hf://owner/name@revision, where a revision is a branch, a tag or a commit.
"""

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torch import nn

from regproxy.errors import ConfigError, DataError, StorageError
from regproxy.inference.model_card import LIBRARY, read_result, write_card
from regproxy.runs.saved_model import save_model
from regproxy.storage.atomic import atomic_file
from regproxy.storage.json_file import write_json

SCHEME = "hf://"
_ADDRESS = re.compile(r"(?P<name>[\w.-]+/[\w.-]+)(@(?P<revision>[\w./-]+))?")
_FILES = ("run.json", "model.safetensors")
_CARD = "README.md"


def write_repository(
    network: nn.Module,
    record: dict[str, Any],
    folder: Path,
    *,
    result: str | os.PathLike[str] | None,
    license: str,
) -> None:
    """Write the weights, the model card and, last, the run record to a folder.

    Arguments and errors are those of `TrainedModel.save_pretrained`.
    """
    scores = None if result is None else read_result(result, record)
    card = folder / _CARD
    if card.exists() and LIBRARY not in card.read_text():
        raise DataError(f"{card} would be overwritten. Give the model a folder of its own.")
    save_model(network, folder)
    number = sum(weight.numel() for weight in network.parameters())
    text = write_card(record, num_parameters=number, license=license, result=scores)
    with atomic_file(card) as temporary:
        temporary.write_text(text)
    write_json(folder / "run.json", record)


def download_model(address: str) -> Path:
    """Download a model from the Hub to the Hub's own cache and return its local folder.

    Without a network, or with HF_HUB_OFFLINE=1, a model that is in the cache is used as it is.

    Raises:
        ConfigError: the address is invalid, or huggingface_hub is not installed.
        DataError: the repository or the revision does not exist, or it is not a model of regproxy.
        StorageError: the Hub cannot be reached and the model is not in the cache.
    """
    match = _ADDRESS.fullmatch(address.removeprefix(SCHEME))
    if match is None:
        raise ConfigError(f"{address} is invalid: expected hf://owner/name or hf://owner/name@revision.")
    name, revision = match["name"], match["revision"]
    with _hub_errors(address) as hub:
        folder = Path(hub.snapshot_download(name, revision=revision, allow_patterns=list(_FILES)))
    missing = [file for file in _FILES if not (folder / file).is_file()]
    if missing:
        raise DataError(
            f"{address} is not a model of regproxy: it has no {' and no '.join(missing)}. "
            f"Give a repository that push_to_hub wrote."
        )
    return folder


def upload_folder(
    folder: Path, name: str, *, revision: str | None, private: bool, token: str | None, message: str
) -> str:
    """Upload a folder to a model repository, which is created if it is missing; return the commit's URL.

    Args:
        folder: with all files to upload.
        name: owner/name of the repository.
        revision: the branch; None for the main one.
        private: whether a new repository is private.
        token: an access token; None for the one of `hf auth login` or HF_TOKEN.
        message: the first line of the commit.

    Raises:
        ConfigError: the name is invalid, or huggingface_hub is not installed.
        DataError: the owner or the branch does not exist.
        StorageError: the Hub cannot be reached or refuses the upload.
    """
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", name):
        raise ConfigError(f"repository {name} is invalid: expected owner/name.")
    with _hub_errors(name) as hub:
        api = hub.HfApi(token=token)
        api.create_repo(name, private=private, exist_ok=True)
        commit = api.upload_folder(
            repo_id=name, folder_path=folder, revision=revision, commit_message=message
        )
    return commit.commit_url


@contextlib.contextmanager
def _hub_errors(address: str) -> Iterator[Any]:
    """Yield the module huggingface_hub, and turn its errors into one sentence each."""
    try:
        import huggingface_hub
        from huggingface_hub import errors
    except ImportError:
        raise ConfigError(
            f"{address} needs huggingface_hub, which is not installed. Run: pip install huggingface_hub"
        ) from None
    try:
        yield huggingface_hub
    except errors.RepositoryNotFoundError:
        raise DataError(
            f"{address} is not on the Hub, or you have no access. Check the name, or run: hf auth login"
        ) from None
    except errors.RevisionNotFoundError:
        raise DataError(f"{address} has no such revision. Give a branch, tag or commit.") from None
    except errors.HFValidationError as error:
        raise ConfigError(f"{address} is invalid: {_one_line(error)} Correct the name.") from None
    except errors.LocalEntryNotFoundError as error:
        raise StorageError(
            f"{address} is not in the cache and cannot be downloaded: {_one_line(error.__cause__ or error)}. "
            f"Check the network, or give a run folder."
        ) from error
    except Exception as error:  # the Hub's client raises types of the HTTP library that it happens to use
        raise StorageError(
            f"the Hub refused or could not be reached for {address}: {_one_line(error)}. Try again later."
        ) from error


def _one_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
