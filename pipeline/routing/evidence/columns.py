"""Everything known about pairs before a person sees them, as the columns that the estimators read.

Symmetric columns stay as they are when the responses change places, antisymmetric ones change their sign. All signals
are optional: without judges, reasons, reference answers, source models or siblings the columns are fewer. `Nodes` and
`shares` say which responses pairs of one prompt have in common, for what is learned within a prompt.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from annotate.statistics.votes import Floats, Integers
from pipeline.routing.evidence import siblings, text, votes
from pipeline.routing.evidence.pool import Pool
from pipeline.routing.evidence.text import Text, cut, rouge

EACH = 8  # judges that have symmetric columns of their own; of a larger panel only the sums are kept
MEAN_VOTE, AGREEMENT, SPLIT = "mean vote", "judges agree", "judges split"
CLOSEST = "closer to one of all references"
COPIED = 0.9  # overlap with a response above which a judge's reference is that response, and no second opinion
USUAL_LENGTH = 4.0  # of responses, as the logarithm of their words: about 55


@dataclass(frozen=True)
class Features:
    """`symmetric` (n, s), `antisymmetric` (n, a), their names, and which pairs share prompts and responses.

    NaN in a symmetric column: the pair cannot have it, as the length of a reason that nobody gave. An antisymmetric
    column is 0 then, for neither side.
    `effects` (n, width): the row of each pair in its prompt's own basis, so that two pairs of a prompt correlate by
    effects · effects'. `shared` (n,) is 1 where another pair has the prompt; effects are zero where none has.
    `prompt` (n,) numbers the prompts.
    """

    symmetric: Floats
    antisymmetric: Floats
    effects: Floats
    shared: Floats
    prompt: Integers
    symmetric_names: tuple[str, ...]
    antisymmetric_names: tuple[str, ...]

    @property
    def size(self) -> int:
        return len(self.prompt)

    def rows(self, wanted: Integers) -> "Features":
        """Some of the pairs."""
        return replace(
            self,
            symmetric=self.symmetric[wanted],
            antisymmetric=self.antisymmetric[wanted],
            effects=self.effects[wanted],
            shared=self.shared[wanted],
            prompt=self.prompt[wanted],
        )

    def swapped(self) -> "Features":
        """As if both responses had changed places."""
        return replace(self, antisymmetric=-self.antisymmetric, effects=-self.effects)


class Table:
    """Columns as they are added, each with a name."""

    def __init__(self, size: int) -> None:
        self.columns: list[Floats] = []
        self.names: list[str] = []
        self.size = size

    def add(self, names: Sequence[str], columns: Floats) -> None:
        """Add (n, names); a single column may be (n,)."""
        self.columns.append(columns.reshape(self.size, len(names)).astype(float))
        self.names += names

    def named(self, name: str) -> Floats:
        """The column of this name, (n,)."""
        ends = np.cumsum([columns.shape[1] for columns in self.columns])
        place = self.names.index(name)
        block = int(np.searchsorted(ends, place, side="right"))
        return self.columns[block][:, place - int(ends[block])]

    def matrix(self) -> Floats:
        return np.column_stack(self.columns) if self.columns else np.zeros((self.size, 0))


def features(pool: Pool, *, models: bool = True) -> Features:
    """All columns of a pool. `models` False leaves out who wrote the responses."""
    symmetric, antisymmetric = Table(pool.size), Table(pool.size)
    both, signed = text.measures(pool)
    symmetric.add(text.SYMMETRIC, both)
    antisymmetric.add(text.ANTISYMMETRIC, signed)
    add_votes(pool, symmetric, antisymmetric)
    add_references(pool, symmetric, antisymmetric)
    add_crossings(symmetric, antisymmetric)
    nodes = siblings.nodes_of(pool)
    add_siblings(pool, nodes, symmetric, antisymmetric)
    if models:
        add_models(pool, antisymmetric)
    return Features(
        symmetric=symmetric.matrix(),
        antisymmetric=antisymmetric.matrix(),
        effects=effects_of(pool, nodes),
        shared=(np.bincount(pool.prompt)[pool.prompt] > 1).astype(float),
        prompt=pool.prompt,
        symmetric_names=tuple(symmetric.names),
        antisymmetric_names=tuple(antisymmetric.names),
    )


def add_votes(pool: Pool, symmetric: Table, antisymmetric: Table) -> None:
    """Each judge's vote and margin; ties, silence and order disagreement; what the panel as a whole does."""
    said = votes.panel(pool)
    names = [pool.raters[judge].name for judge in pool.judges]
    antisymmetric.add([f"vote of {name}" for name in names], said.vote)
    antisymmetric.add([MEAN_VOTE], mean_vote(said))
    sure = np.abs(said.margin - said.vote).max(axis=0, initial=0) > 1e-9
    antisymmetric.add(
        [f"margin of {name}" for name, own in zip(names, sure, strict=True) if own], said.margin[:, sure]
    )
    sums = [np.abs(said.vote).sum(axis=1), np.abs(said.vote.sum(axis=1)), said.split.sum(axis=1)]
    symmetric.add(["judges decided", AGREEMENT, SPLIT], over(np.column_stack(sums), said.asked))
    symmetric.add(["judged"], said.asked.mean(axis=1) if len(names) else np.zeros(pool.size))
    for what, columns in (("tie", said.tied), ("silence", said.silent), ("split", said.split)):
        if len(names) <= EACH:
            symmetric.add([f"{what} of {name}" for name in names], np.where(said.asked > 0, columns, np.nan))
        else:
            symmetric.add([f"share of {what}"], over(columns.sum(axis=1, keepdims=True), said.asked))
    if len(names) <= EACH:
        for judge, found in votes.reasons(pool).items():
            symmetric.add([f"length of reason {judge}", f"hedging of reason {judge}"], found)


def over(sums: Floats, asked: Floats) -> Floats:
    """Sums (n, k) over the judges that were asked; NaN where none was."""
    count = asked.sum(axis=1, keepdims=True)
    return np.where(count > 0, sums / np.maximum(count, 1), np.nan)


def mean_vote(said: votes.Panel) -> Floats:
    """The mean vote of the judges that were asked and said something, (n,)."""
    heard = said.asked * (1 - said.silent)
    return said.vote.sum(axis=1) / np.maximum(heard.sum(axis=1), 1)


def add_references(pool: Pool, symmetric: Table, antisymmetric: Table) -> None:
    """Overlap with the judge's own answer to this pair, and with all judges' own answers to the prompt."""
    own = votes.references(pool)
    if not own:
        return
    for judge, overlap in own.items():
        gap = overlap[:, 0] - overlap[:, 1]
        antisymmetric.add([f"closer to reference {judge}"], np.nan_to_num(gap))
        copied = overlap.max(axis=1) > COPIED
        antisymmetric.add([f"closer to own words of reference {judge}"], np.where(copied, 0.0, np.nan_to_num(gap)))
        symmetric.add([f"reference gap {judge}"], np.abs(gap))
        symmetric.add([f"reference overlap {judge}"], overlap.max(axis=1))
    pooled = pooled_references(pool)
    gap = pooled[:, 0] - pooled[:, 1]
    antisymmetric.add(["closer to all references on average", CLOSEST], np.nan_to_num(gap))
    symmetric.add(["mean gap to all references", "best gap to all references"], np.abs(gap))
    symmetric.add(["mean overlap with all references", "best overlap with all references"], pooled.max(axis=1))


def add_crossings(symmetric: Table, antisymmetric: Table) -> None:
    """What votes say together with lengths and references.

    Do judges vote for the longer response, and for the one nearer to a reference? Votes against either are the ones
    that turn out to be about equals. And how much a vote means may depend on how long the responses are.
    """
    vote = antisymmetric.named(MEAN_VOTE)
    symmetric.add(["vote for the longer"], vote * antisymmetric.named("length ratio signed"))
    if CLOSEST in antisymmetric.names:
        symmetric.add(["vote for the closest to a reference"], vote * antisymmetric.named(CLOSEST))
    antisymmetric.add(["mean vote on long responses"], vote * (symmetric.named("longer length") - USUAL_LENGTH))


def pooled_references(pool: Pool) -> Floats:
    """(n, 2 responses, 2): mean and best ROUGE-1 with every reference answer that a judge wrote for the prompt.

    NaN where none was written.
    """
    written: dict[int, dict[str, Text]] = defaultdict(dict)
    for item, reference in zip(pool.judged.item.tolist(), pool.judged.reference, strict=True):
        if reference:
            written[int(pool.prompt[item])][reference] = cut(reference)
    known: dict[tuple[int, str], tuple[float, float]] = {}
    found = np.zeros((pool.size, 2, 2))
    for item, prompt in enumerate(pool.prompt.tolist()):
        for side, response in enumerate((pool.first[item], pool.second[item])):
            if (prompt, response) not in known:
                overlaps = [rouge(cut(response), reference) for reference in written[prompt].values()] or [np.nan]
                known[prompt, response] = float(np.mean(overlaps)), max(overlaps)
            found[item, side] = known[prompt, response]
    return found


def add_siblings(pool: Pool, nodes: siblings.Nodes, symmetric: Table, antisymmetric: Table) -> None:
    """What judges said of other pairs of the prompt; nothing where every prompt has one pair."""
    count = np.bincount(pool.prompt)[pool.prompt] - 1
    if not count.any() or not len(pool.judges):
        return
    said = votes.panel(pool)
    heard = said.asked * (1 - said.silent)
    margins = [siblings.margins(nodes, said.vote, heard)]
    names = ["siblings' margin"]
    if 1 < said.judges <= EACH:
        margins += [siblings.margins(nodes, said.vote[:, [n]], heard[:, [n]]) for n in range(said.judges)]
        names += [f"siblings' margin by {pool.raters[judge].name}" for judge in pool.judges]
    matrix = np.column_stack(margins)
    antisymmetric.add(names, matrix)
    symmetric.add([f"size of {name}" for name in names], np.abs(matrix))
    symmetric.add(["siblings"], np.log1p(count))


def add_models(pool: Pool, antisymmetric: Table) -> None:
    """+1 where a source model wrote the first response, −1 where the second; only models seen on several prompts."""
    if not pool.model_names:
        return
    places = np.zeros((pool.size, len(pool.model_names) + 1))
    rows = np.arange(pool.size)
    np.add.at(places, (rows, pool.models[:, 0]), 1)
    np.add.at(places, (rows, pool.models[:, 1]), -1)
    often = (np.abs(places[:, :-1]).sum(axis=0) >= 5) if len(pool.model_names) > 2 else np.ones(2, bool)
    often = often[: len(pool.model_names)]
    kept = [name for name, enough in zip(pool.model_names, often, strict=True) if enough]
    antisymmetric.add([f"by {name}" for name in kept], places[:, :-1][:, often])


KINSHIP = 0.95  # how much of a response's worth it would share with one that says the same
POWER = 2  # overlap falls off like its square


def effects_of(pool: Pool, nodes: siblings.Nodes) -> Floats:
    """Each pair's row D·C^½ in its prompt's basis, C the kinship of the prompt's responses: (n, widest prompt).

    Two responses are kin as far as their words overlap (κ·ROUGE-1², 1 on the diagonal): what is learned of one says
    something about the other, and near copies are near ties.
    """
    found: list[tuple[Integers, Floats]] = []
    texts = dict(zip(nodes.first.tolist(), pool.first, strict=True))
    texts.update(zip(nodes.second.tolist(), pool.second, strict=True))
    for group in nodes.groups():
        places = np.unique(np.concatenate([nodes.first[group], nodes.second[group]]))
        root = square_root(kinship([cut(texts[place]) for place in places.tolist()]))
        found.append((group, siblings.incidence(nodes, group) @ root))
    width = max((rows.shape[1] for _, rows in found), default=0)
    matrix = np.zeros((pool.size, width))
    for group, rows in found:
        matrix[group, : rows.shape[1]] = rows
    return matrix


def kinship(texts: list[Text]) -> Floats:
    matrix = np.eye(len(texts))
    for one in range(len(texts)):
        for other in range(one):
            matrix[one, other] = matrix[other, one] = KINSHIP * rouge(texts[one], texts[other]) ** POWER
    return matrix


def square_root(matrix: Floats) -> Floats:
    """The symmetric square root; a matrix that is not quite positive is brought to the nearest that is."""
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
