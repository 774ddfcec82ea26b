"""A prompt's split depends on the prompt alone."""

from collections import Counter

from pipeline.ml.splits import prompt_key, split_of


def prompt(text):
    return [{"role": "user", "content": text}]


def test_the_splits_of_known_prompts_never_change():
    """Literal values: if they change, published test sets leak into training."""
    assert prompt_key(prompt("What is 2 + 2?")) == "e2ab61dad2ab2a6821a0f2c371096aeb45fa9b8c96812aaef41f848e870416ba"
    assert prompt_key(prompt("Où est la gare ?")) == "be63d544a420b6a7b20942641e4fbc61271a4ee6b6a4a30755a6a7ae1c2645bb"
    assert [split_of(prompt(f"Question {number}")) for number in range(12)] == [
        "validation",
        "train",
        "train",
        "train",
        "train",
        "train",
        "train",
        "train",
        "train",
        "train",
        "train",
        "test",
    ]


def test_the_key_sees_roles_and_contents_and_nothing_else():
    marked = [{"role": "user", "content": "Hi", "name": "ada", "id": 3}]
    assert prompt_key(marked) == prompt_key(prompt("Hi"))
    assert prompt_key([{"role": "system", "content": "Hi"}]) != prompt_key(prompt("Hi"))
    assert prompt_key(prompt("a") + prompt("b")) != prompt_key(prompt("ab"))


def test_shares_are_about_70_15_15():
    shares = Counter(split_of(prompt(f"Question {number}")) for number in range(10_000))
    assert abs(shares["train"] - 7000) < 150
    assert abs(shares["validation"] - 1500) < 120
    assert abs(shares["test"] - 1500) < 120


def test_another_seed_draws_another_split():
    first = [split_of(prompt(str(number))) for number in range(100)]
    second = [split_of(prompt(str(number)), seed="again") for number in range(100)]
    assert first != second


def test_a_lone_surrogate_in_a_prompt_has_a_key_too():
    assert len(prompt_key(prompt("broken \ud83d emoji"))) == 64
