"""Who speaks for a judge: its own model or its members', each with address, key, prompt and protocol."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from pipeline.judging import composites, evidence, plans, settling
from pipeline.judging.config import Protocol, protocol_of
from pipeline.judging.exchange import Address
from pipeline.judging.plans import Ask, Outcome, Plan, Request, Subject
from pipeline.judging.protocol import Brief, ProtocolError, brief_of
from pipeline.judging.secrets import decrypt
from pipeline.judging.works import Letter, Work
from pipeline.models import Judge, JudgePrompt


@dataclass(frozen=True)
class Voice:
    """One model that is asked, as its judge is set up."""

    judge: Judge
    address: Address
    how: Protocol


def address_of(judge: Judge) -> Address:
    """Where to ask this judge and how. Raises SecretError."""
    return Address(
        base_url=judge.base_url,
        key=decrypt(judge.encrypted_key),
        model=judge.model,
        max_tokens=judge.max_tokens,
        timeout=float(judge.timeout_seconds),
    )


class Voices:
    """The models that are asked for one judge, by the id under which plans name them; 0 is its own.

    Raises SecretError or ProtocolError where one of them cannot be asked.
    """

    def __init__(self, judge: Judge, members: Sequence[Judge] | None = None) -> None:
        self.judge = judge
        asked = members_of(judge) if members is None else members
        self.made_of = [setup_of(each) for each in (judge, *asked)]
        self.how = protocol_of(judge.protocol)
        self.prompts: dict[str, JudgePrompt | None] = {judge.prompt_version: judge.prompt}
        self.briefs: dict[tuple[object, ...], Brief] = {}
        self.by_id: dict[int, Voice] = {}
        if judge.kind in Judge.OF_MEMBERS:
            self.by_id = {member.pk: voice_of(member) for member in asked}
        else:
            self.by_id[0] = voice_of(judge)
        if not self.by_id:
            raise ProtocolError("It has no members: choose the judges that it asks.")

    def renewed(self, judge: Judge, members: Sequence[Judge]) -> "Voices":
        """These voices for the judges as they stand now; other ones where their setting up has changed."""
        if [setup_of(each) for each in (judge, *members)] != self.made_of:
            return Voices(judge, members)
        self.judge = judge
        for place, each in ((0, judge), *((member.pk, member) for member in members)):
            if place in self.by_id:
                self.by_id[place] = replace(self.by_id[place], judge=each)
        return self

    def brief(self, prompt_version: str) -> Brief:
        """What the project wants judged now, in the words of the judge's own prompt of this name."""
        project = self.judge.project
        key = (prompt_version, project.guideline_version, project.rubric_version, project.name)
        if key not in self.briefs:
            if prompt_version not in self.prompts:
                found = JudgePrompt.objects.filter(project=project, name=prompt_version)
                self.prompts[prompt_version] = found.first()
            self.briefs[key] = brief_of(project, self.prompts[prompt_version], self.how)
        return self.briefs[key]

    def plan(self, prompt_version: str, subject: Subject) -> tuple[Brief, Plan[Outcome]]:
        """What is to be asked about one item in one order."""
        brief = self.brief(prompt_version)
        if self.judge.kind not in Judge.OF_MEMBERS:
            return brief, self.said_by(self.by_id[0], brief, subject)
        members = [
            composites.Member(pk, voice.judge.name, self.member_brief(voice), voice.how, voice.judge.prompt_version)
            for pk, voice in self.by_id.items()
        ]
        if self.judge.kind == Judge.PANEL:
            return brief, composites.panel(brief, members, subject)
        return brief, composites.cascade(brief, members, self.how, subject)

    def said_by(self, voice: Voice, brief: Brief, subject: Subject) -> Plan[Outcome]:
        return plans.whole(brief, voice.how, subject, evidence.gatherer(voice.how))

    def member_brief(self, voice: Voice) -> Brief:
        key = (voice.judge.pk, self.judge.project.guideline_version, self.judge.project.rubric_version)
        if key not in self.briefs:
            self.briefs[key] = brief_of(self.judge.project, voice.judge.prompt, voice.how)
        return self.briefs[key]

    def address(self, request: Request) -> Address | None:
        """Where a request goes; None for a tool."""
        return self.by_id[request.member].address if isinstance(request, Ask) else None

    def letter(self, work: Work, place: int, request: Request, key: str) -> Letter:
        """A request with the most that it may cost."""
        if not isinstance(request, Ask):
            return Letter(work, place, request, key, self.judge, None, 0)
        voice = self.by_id[request.member]
        most = settling.most_tokens(voice.judge, request.form.messages)
        units = settling.most_units(voice.judge, most)
        return Letter(work, place, request, key, voice.judge, voice.address, units, most=most)


def members_of(judge: Judge) -> list[Judge]:
    """The judges whose models a panel or a cascade asks, in its order."""
    return [seat.member for seat in judge.seats.select_related("member__prompt").order_by("position")]


def voice_of(judge: Judge) -> Voice:
    return Voice(judge, address_of(judge), protocol_of(judge.protocol))


def setup_of(judge: Judge) -> tuple[object, ...]:
    """What voices are made of: where it is the same, they can be used again."""
    return (
        judge.pk,
        judge.base_url,
        judge.encrypted_key,
        judge.model,
        judge.max_tokens,
        judge.timeout_seconds,
        judge.prompt_version,
        tuple(sorted(judge.protocol.items())),
    )
