"""The item on which the editor of questions shows them: short answers with what a question may point at."""

PROMPT = "How do I turn a list of words into one line of text in Python?"
RESPONSES = (
    "Use `join`:\n\n```python\nline = ' '.join(words)\n```\n\n"
    "It puts a space **between** the words, and none at the end.",
    "Add them up in a loop.\n\nStart with an empty text and add each word and a space. It is slow for long lists.",
    "I cannot help with that.",
)
