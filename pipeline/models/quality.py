"""How good a judge is found to be: its calibrations, the report that its page reads, and what it is tried on."""

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.utils import timezone

from annotate.models import Exclusion, Project, Question, Rater, User
from pipeline.models.judges import Judge


class Calibration(models.Model):
    """One map from a judge's answers to probabilities, with what it was fitted on. Never changed, only followed.

    It holds for one evaluator: a judge's model with one version of its prompt. `pipeline.quality.measuring` is the
    only writer.
    """

    rater = models.ForeignKey(Rater, on_delete=models.CASCADE, related_name="calibrations")
    question = models.ForeignKey(Question, on_delete=models.CASCADE, related_name="calibrations")
    number = models.PositiveIntegerField(help_text="1 for a judge's first calibration of a question")
    evaluator = models.CharField(max_length=300, help_text="model and prompt version")
    method = models.CharField(max_length=12, help_text="identity, temperature or isotonic")
    parameters = models.JSONField(help_text="of the map, and how often people choose no side")
    fitted_on = models.JSONField(help_text="how many audits, from where, the newest annotation, and their hash")
    report = models.JSONField(help_text="before and after on audits that the fit had not seen")
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["-number"]
        constraints = [
            models.UniqueConstraint(fields=["rater", "question", "number"], name="calibration_unique_number"),
        ]

    def __str__(self) -> str:
        return f"calibration {self.number} of {self.rater}"

    @property
    def temperature(self) -> float | None:
        """T of σ(m / T); None for steps, and where the margins say nothing."""
        inverse = self.parameters.get("inverse")
        return 1 / inverse if inverse else None


class JudgeReport(models.Model):
    """What was last measured of a judge against people. Derived: it can be thrown away and computed again."""

    rater = models.OneToOneField(Rater, on_delete=models.CASCADE, related_name="judge_report")
    evaluator = models.CharField(max_length=300, blank=True)
    report = models.JSONField(default=dict)
    since = models.DateTimeField(null=True, help_text="audits before this moment no longer count: somebody said so")
    since_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    change = models.BigIntegerField(default=0, help_text="the project's newest Change when it was measured")
    measured_at = models.DateTimeField(null=True)
    wanted_at = models.DateTimeField(null=True, help_text="somebody wants it measured: empty once that is done")
    began_at = models.DateTimeField(null=True, help_text="when a worker began with that")
    error = models.CharField(max_length=200, blank=True, help_text="why it could not be measured")


class PriorWork(models.Model):
    """How far the priors of a project's judged items are written. `pipeline.quality.priors` is the only writer."""

    project = models.OneToOneField(Project, on_delete=models.CASCADE, related_name="prior_work")
    calibrations = models.JSONField(default=list, help_text="ids of those in force when it began")
    item = models.BigIntegerField(default=0, help_text="items up to this one are done, for annotations up to `until`")
    until = models.BigIntegerField(default=0, help_text="the newest annotation of this pass")
    done = models.BigIntegerField(default=0, help_text="the newest annotation of the last whole pass")


class ProbeLimit(models.Model):
    """What a project lets pass: how many per cent of probes may fool a judge that labels for it."""

    project = models.OneToOneField(Project, on_delete=models.CASCADE, related_name="probe_limit")
    percent = models.FloatField(
        default=2.0,
        validators=[MinValueValidator(0), MaxValueValidator(100)],
        help_text="Per cent of the probes; 2 is suggested.",
    )
    blocks = models.BooleanField(default=True, help_text="A judge that more of them fool is asked nothing more.")
    automatic = models.BooleanField(
        default=True, help_text="Every new model and prompt is tried on the probes by itself, under its spend cap."
    )


class Study(models.Model):
    """Questions asked of a judge to learn about the judge: nothing that it says here is an annotation.

    `pipeline.quality.studies` is the only writer. due → done, or stopped with a message that says what to do; a study
    whose worker died goes on where it was. Every reply is paid by the judge and counts against its spend cap.
    """

    PROBES, CRITERION, PROMPT, WRITING = "probes", "criterion", "prompt", "writing"
    KINDS = [
        (PROBES, "attacks"),
        (CRITERION, "a proposed criterion"),
        (PROMPT, "a proposed prompt"),
        (WRITING, "proposing criteria"),
    ]
    DUE, DONE, STOPPED = "due", "done", "stopped"
    STATES = [(state, state) for state in (DUE, DONE, STOPPED)]

    judge = models.ForeignKey(Judge, on_delete=models.CASCADE, related_name="studies")
    kind = models.CharField(max_length=10, choices=KINDS)
    evaluator = models.CharField(max_length=300, help_text="what the judge was when it was asked for")
    prompt_version = models.CharField(max_length=40)
    config = models.JSONField(default=dict, help_text="what is tried: a criterion, a prompt")
    state = models.CharField(max_length=8, choices=STATES, default=DUE)
    message = models.CharField(max_length=500, blank=True)
    result = models.JSONField(default=dict)
    reserved_units = models.BigIntegerField(default=0, help_text="of workers from before calls kept their own")
    run = models.OneToOneField(
        "pipeline.Run",
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="study",
        help_text="that asks it, of a model of ours",
    )
    failures = models.PositiveIntegerField(default=0, help_text="questions in a row without a usable reply")
    due_at = models.DateTimeField(null=True, blank=True, help_text="not before; empty for at once")
    lease_token = models.CharField(max_length=32, blank=True, help_text="the worker that asks for it now")
    lease_until = models.DateTimeField(null=True, blank=True)
    created_by = models.ForeignKey(User, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField(default=timezone.now)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-id"]
        indexes = [models.Index(fields=["state"], name="study_due", condition=models.Q(state="due"))]

    def __str__(self) -> str:
        return f"study {self.pk}"


class StudyCall(models.Model):
    """One question of a study: about a probe or an item, in one order, in one of the ways that are compared."""

    PENDING, ANSWERED, UNPARSABLE, FAILED = "pending", "answered", "unparsable", "failed"
    STATES = [(state, state) for state in (PENDING, ANSWERED, UNPARSABLE, FAILED)]

    study = models.ForeignKey(Study, on_delete=models.CASCADE, related_name="calls")
    key = models.CharField(max_length=60, help_text="a probe's name, or an item's id")
    arm = models.CharField(max_length=10, blank=True, help_text="present or proposed")
    order_key = models.CharField(max_length=10)
    state = models.CharField(max_length=10, choices=STATES, default=PENDING)
    choice = models.CharField(max_length=10, blank=True, help_text="a, b, tie or unparsable, in stored order")
    reply = models.TextField(blank=True)
    attempts = models.PositiveSmallIntegerField(default=0, help_text="requests made")
    replies = models.PositiveSmallIntegerField(default=0, help_text="replies received, each of them paid")
    strikes = models.PositiveSmallIntegerField(default=0, help_text="failures while the endpoint answered others")
    due_at = models.DateTimeField(null=True, blank=True, help_text="not before; empty for at once")
    prompt_sha256 = models.CharField(max_length=64, blank=True)
    tokens_input = models.PositiveIntegerField(default=0)
    tokens_output = models.PositiveIntegerField(default=0)
    cost_units = models.BigIntegerField(default=0)
    reserved_units = models.BigIntegerField(default=0)
    seconds = models.FloatField(default=0.0)
    error = models.CharField(max_length=500, blank=True)
    claim = models.CharField(max_length=32, blank=True)
    claimed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["study", "key", "arm", "order_key"], name="study_call_unique"),
        ]

    @property
    def order(self) -> list[int]:
        """The presented order: "1-0" → [1, 0]."""
        return [int(position) for position in self.order_key.split("-")]


class Block(models.Model):
    """Why a judge is asked nothing more, although nobody switched it off. It holds for one evaluator."""

    judge = models.OneToOneField(Judge, on_delete=models.CASCADE, related_name="block")
    study = models.ForeignKey(Study, on_delete=models.CASCADE, related_name="+")
    evaluator = models.CharField(max_length=300)
    exclusion = models.ForeignKey(
        Exclusion,
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="+",
        help_text="by which its earlier verdicts do not count meanwhile",
    )
    created_at = models.DateTimeField(default=timezone.now)


class Proposal(models.Model):
    """A criterion or a prompt that somebody or something proposes, with how it does on people's held-out labels.

    `pipeline.quality.proposals` is the only writer. proposed → accepted or dismissed, by a person.
    """

    CRITERION, PROMPT = "criterion", "prompt"
    KINDS = [(CRITERION, "criterion"), (PROMPT, "prompt")]
    PHRASES, JUDGE, PERSON = "phrases", "judge", "person"
    SOURCES = [(PHRASES, "people's reasons"), (JUDGE, "a judge"), (PERSON, "a person")]
    PROPOSED, ACCEPTED, DISMISSED = "proposed", "accepted", "dismissed"
    STATES = [(state, state) for state in (PROPOSED, ACCEPTED, DISMISSED)]

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="proposals")
    judge = models.ForeignKey(Judge, on_delete=models.CASCADE, related_name="proposals", help_text="on whose page")
    kind = models.CharField(max_length=10, choices=KINDS)
    source = models.CharField(max_length=8, choices=SOURCES)
    title = models.CharField(max_length=160)
    description = models.TextField(blank=True)
    low = models.CharField(max_length=200, blank=True, help_text="what a 1 looks like")
    high = models.CharField(max_length=200, blank=True, help_text="what a 5 looks like")
    prompt = models.ForeignKey(
        "pipeline.JudgePrompt", null=True, blank=True, on_delete=models.CASCADE, related_name="proposals"
    )
    evidence = models.JSONField(default=dict, help_text="why it was proposed: counts of a phrase")
    study = models.ForeignKey(
        Study, null=True, blank=True, on_delete=models.SET_NULL, related_name="proposals", help_text="its newest score"
    )
    state = models.CharField(max_length=10, choices=STATES, default=PROPOSED)
    decided_by = models.ForeignKey(User, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    decided_at = models.DateTimeField(null=True, blank=True)
    created_by = models.ForeignKey(User, null=True, blank=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["-id"]

    def __str__(self) -> str:
        return self.title
