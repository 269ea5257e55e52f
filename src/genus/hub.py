"""Models on a hub: a file and a card that says what it is, how good, and what to watch for.

The client is huggingface_hub (`pip install 'genus[hub]'`); what is loaded is a model file as `genus.load` takes it, from which
no code is run.
"""

from __future__ import annotations

import html
import json
import os
import re
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from genus.errors import GenusError, ModelFileError
from genus.evaluation import Report
from genus.evaluation.figures import density_text
from genus.files import load, save
from genus.ladder import GenerativeModel

__all__ = ["from_pretrained", "model_card", "push_to_hub"]

FILE = "model.genus"
LABELS = {
    "exact": "log_prob is exact",
    "bound": "elbo is a lower bound on the log-density",
    "none": "no density, samples alone",
}


def push_to_hub(
    model: GenerativeModel,
    repository: str,
    *,
    report: Report | None = None,
    private: bool = True,
    token: str | None = None,
    endpoint: str | None = None,
) -> str:
    """Upload a model and its card, and return the address of the upload.

    A model holds levels, ends and repeated values of the columns that it was trained on; what may be published of these is for
    you to say, so repositories are private unless you ask for public ones.

    Args:
        model: trained.
        repository: "owner/name"; it is made where it does not exist.
        report: of a comparison that the model's family took part in; its verdict and numbers go onto the card.
        private: who may see a repository that is made now.
        token: of the hub; by default that of `hf auth login`.
        endpoint: another hub's address.

    Raises:
        GenusError: huggingface_hub is not installed, or the hub refuses.
    """
    hub = _client()
    api = hub.HfApi(endpoint=endpoint, token=token)
    with TemporaryDirectory() as folder:
        save(model, Path(folder) / FILE)
        (Path(folder) / "README.md").write_text(model_card(model, repository, report), encoding="utf-8")
        try:
            api.create_repo(repository, private=private, exist_ok=True)
            found = api.upload_folder(repo_id=repository, folder_path=folder, commit_message=f"A {model.name} by genus")
        except (OSError, ValueError, hub.errors.HfHubHTTPError) as error:
            raise GenusError(f"{repository} could not be uploaded: {' '.join(str(error).split())}") from error
    return str(found)


def from_pretrained(
    repository: str,
    *,
    revision: str | None = None,
    token: str | None = None,
    endpoint: str | None = None,
    cache: str | os.PathLike[str] | None = None,
) -> GenerativeModel:
    """Return the model of a repository that `push_to_hub` made.

    Args:
        repository: "owner/name".
        revision: a branch, tag or commit; by default the newest.
        token: of the hub; by default that of `hf auth login`.
        endpoint: another hub's address.
        cache: the folder of downloads; by default that of huggingface_hub.

    Raises:
        GenusError: huggingface_hub is not installed, or there is no such file.
        ModelFileError: the file is no model.
    """
    hub = _client()
    try:
        path = hub.hf_hub_download(repository, FILE, revision=revision, token=token, endpoint=endpoint, cache_dir=cache)
    except (OSError, ValueError, hub.errors.HfHubHTTPError) as error:
        raise GenusError(f"{repository} could not be downloaded: {' '.join(str(error).split())}") from error
    try:
        return load(path)
    except ModelFileError as error:
        raise ModelFileError(str(error).replace(str(path), f"{FILE} of {repository}")) from error


def model_card(model: GenerativeModel, repository: str = "owner/name", report: Report | None = None) -> str:
    """Return the card of a model in Markdown: what it is, its columns, how good it was, how to use it, and what it may reveal.

    >>> from genus import NaiveBayes, read
    >>> print(model_card(NaiveBayes(read("iris").space)).split("---")[1].strip())
    library_name: genus
    tags: ["generative-model", "naive-bayes"]
    """
    info = model.info
    lines = ["---", "library_name: genus", f"tags: {json.dumps(['generative-model', model.name])}", "---", ""]
    lines += [
        f"# {repository.split('/')[-1]}",
        "",
        f"A {info.title} ({model.name}) fitted by genus: {LABELS[info.likelihood]}.",
        "",
    ]
    lines += [f"> {info.formula}", ""] if info.formula else []
    lines += [f"- **Good for** {info.good}.", f"- **Bad for** {info.bad}.", ""] if info.good else []
    lines += _numbers(model, report) if report is not None else []
    fence = "`" * (3 + str(model.space).count("`") + str(model.context).count("`"))  # no name of a column ends the block
    lines += ["## What it models", "", fence, str(model.space)]
    lines += [f"given {model.context}"] if model.context is not None else []
    lines += [fence, "", "## Use", "", "```python", "from genus.hub import from_pretrained", ""]
    lines += [f'model = from_pretrained("{repository}")', "model.decode(model.sample(10))", "```", ""]
    lines += ["## What it may reveal", ""]
    lines += [
        "The file holds levels, ends and repeated values of the training columns. Samples are no proof of privacy: see the"
    ]
    lines += ["report's findings on copies, and ask whether any row of yours may be guessed from them.", ""]
    return "\n".join(lines)


def _numbers(model: GenerativeModel, report: Report) -> list[str]:
    """Return the verdict of a report and the row of the model's family, where it took part."""
    lines = ["## How good it is", "", _as_markdown(report.verdict), ""]
    row = next((row for row in report.rows if row.family == model.name and row.status == "ok"), None)
    if row is None:
        return lines
    lines += ["| held-out rows | value |", "|---|---|"]
    if row.log_density is not None:
        lines.append(f"| log-density, nats a row ({row.label}) | {density_text(row)} |")
    for key, value in row.metrics.items():
        title = report.metrics[key].title if key in report.metrics else key
        lines.append(f"| {_as_markdown(title)} | {value:.3f} |")
    return [*lines, ""]


def _as_markdown(text: str) -> str:
    """Return words that may be of the data as Markdown of one line that shows them as they are, with no markup of their own."""
    return re.sub(r"([\\`*_\[\]|])", r"\\\1", html.escape(" ".join(text.split()), quote=False))


def _client() -> Any:
    """Return the module of the hub's client."""
    try:
        import huggingface_hub
        import huggingface_hub.errors
    except ImportError:
        raise GenusError("Hubs need huggingface_hub, which is not installed: pip install 'genus[hub]'") from None
    return huggingface_hub
