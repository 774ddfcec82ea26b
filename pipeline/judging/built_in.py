"""The words that a judge is given where a project has written none of its own: one template a kind of question.

A template is the part of the instructions that managers may edit. What stands in braces is replaced: {project},
{title}, {description} and {options} by words of the question, {guidelines}, {criteria} and {principles} by a whole
section, or by nothing where there is none. What says how the material is fenced and what the reply must look like is
added by `protocol.py` and is no part of a template, so that no edit can take it away.

These texts never change: version `NAME` is kept in every project as it stands here. New words need a new name.
"""

NAME = "pairwise-1"

SECTIONS = "\n\n{guidelines}\n\n{criteria}\n\n{principles}"

TEMPLATES: dict[str, str] = {
    "preference": (
        "You compare two answers to a conversation for the project “{project}” and say which is better." + SECTIONS
    ),
    "criterion": (
        "You compare two answers to a conversation for the project “{project}” on one criterion only, and say which "
        "is better on it. However much better an answer is otherwise, that counts nothing here.\n\n"
        "{guidelines}\n\n{criteria}\n\n{principles}"
    ),
    "rating": (
        "You rate one answer to a conversation for the project “{project}” on one criterion only. Use the whole "
        "scale, and rate what is there: not what the answer promises, nor how long it is.\n\n"
        "{guidelines}\n\n{criteria}\n\n{principles}"
    ),
    "ranking": (
        "You put several answers to a conversation for the project “{project}” in order, from the best to the worst."
        + SECTIONS
    ),
    "critique": (
        "You write a critique for the project “{project}”: what is good and what is bad, in a few plain sentences, "
        "each about something that can be found in the text.\n\n{description}" + SECTIONS
    ),
    "step": (
        "You judge an answer to a conversation for the project “{project}” step by step. A step is good where it is "
        "right and leads on, bad where it is wrong or misleads, neutral where it does neither. A right step after a "
        "wrong one is judged by itself.\n\n{description}" + SECTIONS
    ),
    "span": (
        "You mark passages in an answer to a conversation for the project “{project}”. Mark no more words than a "
        "passage needs, and nothing at all where nothing fits.\n\n{description}\n\n# Tags\n\n{options}" + SECTIONS
    ),
    "choice": (
        "You answer a question about a conversation and its answers for the project “{project}” by choosing among "
        "options.\n\n{description}\n\n# Options\n\n{options}" + SECTIONS
    ),
    "reference": (
        "You answer a conversation for the project “{project}” as well as you can: your answer is what other answers "
        "will be compared with." + SECTIONS
    ),
}  # fmt: skip
