"""Whose model a study asks, and in which words: the judge's own, for the preference alone, or those of a proposal."""

from collections.abc import Callable
from dataclasses import replace

from pipeline.judging.protocol import Brief
from pipeline.judging.voices import Voice, Voices
from pipeline.models import Judge

Change = Callable[[Brief], Brief]


def as_it_is(brief: Brief) -> Brief:
    return brief


class StudyVoices(Voices):
    """The judge's voices, or its members', asked for the preference alone.

    `change` makes of the words of each what they would be with a proposal; `longest` is what a reply needs, in tokens,
    where that may be more than a judge is set to.
    """

    def __init__(self, judge: Judge, change: Change = as_it_is, longest: int = 0) -> None:
        super().__init__(judge)
        self.change = change
        self.how = replace(self.how, questions="")
        self.by_id = {pk: self.narrowed(voice, longest) for pk, voice in self.by_id.items()}

    def narrowed(self, voice: Voice, longest: int) -> Voice:
        most = max(voice.judge.max_tokens, longest)
        voice.judge.max_tokens = most  # of this object only, for what a request may cost; it is not saved
        return replace(voice, address=replace(voice.address, max_tokens=most), how=replace(voice.how, questions=""))

    def brief(self, prompt_version: str) -> Brief:
        return self.change(super().brief(prompt_version))

    def member_brief(self, voice: Voice) -> Brief:
        return self.change(super().member_brief(voice))

    @property
    def writer(self) -> int:
        """Who writes where one has to: the judge's own model, of several the first."""
        return next(iter(self.by_id))
