"""The dataset card: a README.md whose head tells `datasets` what to load, and whose text tells people what it is."""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from annotate.models import Project, Rater
from pipeline.datasets.writing import SPLITS, Writer

EXCLUDED = {
    "tie": "ties",
    "both_bad": "pairs with both answers bad",
    "same_answers": "pairs of one and the same answer",
    "other_source": "decided by somebody else than asked for",
    "low_probability": "less probable than asked for",
    "not_a_pair": "items with another number of answers than two",
}


def write_card(writer: Writer, project: Project, number: int) -> str:
    """The card as Markdown with its YAML head."""
    parts = [
        head(writer, project),
        f"# {project.name}: snapshot {number}\n\n{introduction(project)}",
        table_of_splits(writer),
        how_made(writer, project),
        columns(writer.form.COLUMNS),
        how_to_read(writer),
        f"## Identity\n\nThe rows in order have the SHA-256 `{writer.sha256}`. The same labels give the same hash.",
    ]
    return "\n\n".join(parts) + "\n"


def introduction(project: Project) -> str:
    what = project.description or "Preferences between two answers to the same prompt."
    return f"{what}\n\nCut by Plumbline. Splits go by prompt: no prompt stands in two of them."


# --- The head -------------------------------------------------------------------------------------------------
def head(writer: Writer, project: Project) -> str:
    """The YAML that `datasets.load_dataset(folder)` reads; splits without rows are left out.

    A folder has one kind of file for `datasets`: the Parquet files. It takes the JSONL files by name.
    """
    lines = ["---", "# Fill in before you share this: license: …", f"pretty_name: {quoted(project.name)}"]
    lines += ["tags:", "- preference", "- trl", "configs:", "- config_name: default", "  data_files:"]
    for split in filled(writer):
        lines += [f"  - split: {split}", f"    path: {split}.parquet"]
    lines += ["dataset_info:", "- config_name: default", "  features:", *features(writer.form.SCHEMA)]
    return "\n".join([*lines, "---"])


def filled(writer: Writer) -> list[str]:
    """The splits that have rows."""
    return [split for split in SPLITS if writer.counts[split]]


def features(schema: pa.Schema) -> list[str]:
    """The columns' types in the words of `datasets`."""
    return [line for column in schema for line in feature(column)]


def feature(column: pa.Field) -> list[str]:
    name, kind = f"  - name: {column.name}", column.type
    if not pa.types.is_list(kind):
        return [name, f"    dtype: {word(kind)}"]
    if not pa.types.is_struct(kind.value_type):
        return [name, f"    list: {word(kind.value_type)}"]
    inner = [f"    - name: {part.name}\n      dtype: {word(part.type)}" for part in kind.value_type.fields]
    return [name, "    list:", *inner]


def word(kind: pa.DataType) -> str:
    return {"double": "float64"}.get(str(kind), str(kind))


def quoted(text: str) -> str:
    """A text as a YAML string on one line."""
    return '"' + " ".join(text.split()).replace("\\", "\\\\").replace('"', '\\"') + '"'


# --- The text -------------------------------------------------------------------------------------------------
def table_of_splits(writer: Writer) -> str:
    rows = "\n".join(f"| {split} | {writer.counts[split]:,} |" for split in SPLITS)
    return (
        "## Splits\n\n| split | pairs |\n| --- | ---: |\n"
        f"{rows}\n| together | {writer.counts['rows']:,} |\n\n{len(writer.prompts):,} different prompts."
    )


def how_made(writer: Writer, project: Project) -> str:
    lines = [
        "## How the labels were made",
        "",
        f"- {decided(writer.counts)}.",
        f"- Guidelines in version {project.guideline_version}, rubric in version {project.rubric_version}.",
        f"- {agreement(project.agreement)}",
        f"- {sample_share(writer.counts)}",
        f"- Left out: {left_out(writer.excluded)}.",
        f"- Taken: {taken(writer)}.",
        "",
        "| rater | kind | annotations |",
        "| --- | --- | ---: |",
        *(f"| {name} | {kind} | {count:,} |" for name, kind, count in raters(writer.votes)),
    ]
    return "\n".join(lines)


def decided(counts: Mapping[str, int]) -> str:
    rows = max(1, counts["rows"])
    shares = [
        f"{who} decided {counts[kind]:,} ({100 * counts[kind] / rows:.0f}%)"
        for kind, who in (("human", "people"), ("judge", "judges"), ("prior", "priors"))
        if counts[kind]
    ]
    return "Of the pairs " + ", ".join(shares) if shares else "There are no pairs"


def agreement(known: Mapping[str, Any]) -> str:
    if known.get("alpha") is None:
        return "Agreement among people is not known: no two people labelled the same item."
    interval = f", 95% interval {known['low']:.2f} to {known['high']:.2f}" if known.get("low") is not None else ""
    return f"People agree with Krippendorff's alpha {known['alpha']:.2f}{interval}, on {known['units']:,} items."


def sample_share(counts: Mapping[str, int]) -> str:
    if not counts["sample"]:
        return "No sample data."
    share = 100 * counts["sample"] / counts["rows"]
    return f"Sample data, written for a demonstration and not collected: {counts['sample']:,} pairs ({share:.0f}%)."


def left_out(excluded: Mapping[str, int]) -> str:
    return (
        ", ".join(f"{count:,} {EXCLUDED.get(reason, reason)}" for reason, count in sorted(excluded.items())) or "none"
    )


def taken(writer: Writer) -> str:
    settings = writer.settings
    who = {"all": "whoever decided", "human": "decided by people", "judge": "decided by judges"}[settings.source]
    return f"{who}, with a probability of {settings.min_probability:g} or more"


def raters(votes: Mapping[int, int]) -> list[tuple[str, str, int]]:
    """(name, kind, annotations), most first. People are numbered; judges keep their names."""
    known = Rater.objects.in_bulk(list(votes))
    rows, people = [], 0
    for rater, count in sorted(votes.items(), key=lambda pair: (-pair[1], pair[0])):
        if known[rater].kind == Rater.JUDGE:
            rows.append((" ".join(known[rater].name.replace("|", "/").split()), "judge", count))
        else:
            people += 1
            rows.append((f"person {people}", "person", count))
    return rows


def how_to_read(writer: Writer) -> str:
    files = ", ".join(f'"{split}": "{split}.jsonl"' for split in filled(writer))
    return (
        "## How to read it\n\n```python\nfrom datasets import load_dataset\n\n"
        'pairs = load_dataset("path/to/this/folder")  # the Parquet files\n'
        f'pairs = load_dataset("json", data_files={{{files}}})  # the same as JSON lines\n```'
    )


def columns(described: Mapping[str, str]) -> str:
    rows = "\n".join(f"| `{name}` | {meaning} |" for name, meaning in described.items())
    return f"## Columns\n\n| column | what it is |\n| --- | --- |\n{rows}"
