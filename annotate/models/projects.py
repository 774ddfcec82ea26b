"""Who works here, on what, and what is asked of them."""

from django.contrib.auth.models import AbstractUser
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import F, Q
from django.utils import timezone
from django.utils.translation import gettext_lazy


class User(AbstractUser):
    """Somebody who signs in. Admins (`is_superuser`) may do everything; all other roles are per project."""

    email = models.EmailField("e-mail address", unique=True)
    preferences = models.JSONField(default=dict, blank=True, help_text="what `annotate.preferences` keeps")

    # The project that this request was let into, with the role, and what the user is in it (None for an admin who
    # is no member): not stored, set by `annotate.access`.
    opened: tuple["Project", str] | None = None
    member: "Membership | None" = None

    @property
    def is_admin(self) -> bool:
        return self.is_superuser

    def __str__(self) -> str:
        return self.get_full_name() or self.username


class Project(models.Model):
    """One labelling effort: guidelines, questions, members, settings."""

    ACTIVE, PAUSED, ARCHIVED = "active", "paused", "archived"
    STATES = [
        (ACTIVE, gettext_lazy("active")),
        (PAUSED, gettext_lazy("paused")),
        (ARCHIVED, gettext_lazy("archived")),
    ]
    PER_HOUR, PER_ANSWER = "hour", "answer"
    PAY_UNITS = [(PER_HOUR, "an hour of active time"), (PER_ANSWER, "an answer")]

    name = models.CharField(max_length=120)
    slug = models.SlugField(max_length=80, unique=True)
    description = models.CharField(max_length=300, blank=True)
    guidelines = models.TextField(blank=True, help_text="Markdown. What a good answer is, and how to choose.")
    guideline_version = models.PositiveIntegerField(default=1)
    rubric_version = models.PositiveIntegerField(default=1)
    state = models.CharField(max_length=10, choices=STATES, default=ACTIVE)
    overlap = models.PositiveSmallIntegerField(
        default=1,
        validators=[MinValueValidator(1), MaxValueValidator(20)],
        help_text="How many people label each item that is routed to people.",
    )
    lease_minutes = models.PositiveSmallIntegerField(
        default=10,
        validators=[MinValueValidator(1), MaxValueValidator(24 * 60)],
        help_text="How long an item stays with an annotator without a sign of life from their page.",
    )
    daily_quota = models.PositiveIntegerField(
        null=True, blank=True, help_text="How many items one person may label a day; no limit if blank."
    )
    total_quota = models.PositiveIntegerField(
        null=True, blank=True, help_text="How many items one person may label in all; no limit if blank."
    )
    gold_rate = models.PositiveSmallIntegerField(
        default=0,
        validators=[MaxValueValidator(50)],
        help_text="Per cent of what an annotator gets that are gold items, while there are some they have not seen.",
    )
    has_training = models.BooleanField(
        default=False, help_text="New annotators first answer the training items and see how they did."
    )
    has_quiz = models.BooleanField(
        default=False, help_text="Annotators get items only once they have passed the quiz."
    )
    quiz_pass_mark = models.PositiveSmallIntegerField(
        default=80, validators=[MinValueValidator(1), MaxValueValidator(100)], help_text="Per cent of the quiz."
    )
    has_leaderboard = models.BooleanField(
        default=False, help_text="Annotators who choose to be on it see one another's points on their page."
    )
    pay_rate = models.DecimalField(
        max_digits=10,
        decimal_places=4,
        null=True,
        blank=True,
        validators=[MinValueValidator(0)],
        help_text="Of one person; no money is shown if blank.",
    )
    pay_unit = models.CharField(max_length=6, choices=PAY_UNITS, default=PER_HOUR)
    currency = models.CharField(max_length=8, default="EUR", blank=True)
    quiz_attempts = models.PositiveSmallIntegerField(
        default=3, validators=[MinValueValidator(1), MaxValueValidator(20)], help_text="How often somebody may try."
    )
    judge_share = models.PositiveSmallIntegerField(
        default=0,
        validators=[MaxValueValidator(100)],
        help_text="Per cent of new items that only the judge labels.",
    )
    both_share = models.PositiveSmallIntegerField(
        default=5,
        validators=[MaxValueValidator(100)],
        help_text="Per cent of new items that people and the judge label, to measure the judge.",
    )
    MAJORITY, SKILL_WEIGHTED, DAWID_SKENE = "majority", "skill_weighted", "dawid_skene"
    METHODS = [
        (MAJORITY, "Majority: every vote counts the same"),
        (SKILL_WEIGHTED, "Skill-weighted: a vote counts by how often its rater agrees with the others"),
        (DAWID_SKENE, "Dawid–Skene: by how each rater errs, option by option"),
    ]
    aggregation_method = models.CharField(
        "how votes become labels",
        max_length=16,
        choices=METHODS,
        default=MAJORITY,
        help_text="The two that weigh votes start once 200 items have two people's votes and raters have 20 each; "
        "until then the majority stands.",
    )
    agreement = models.JSONField(
        default=dict,
        blank=True,
        help_text="Krippendorff's alpha as last computed: alpha, low, high, units, at.",
    )
    image_hosts = models.TextField(
        "hosts that pictures may come from",
        blank=True,
        default="",
        help_text="One a line, as in images.example.org. Imports fetch pictures that a file names by address from "
        "these hosts only; from none if blank.",
    )
    skip_reasons = models.TextField(blank=True, default="", help_text="One a line; those at first if blank.")
    flag_reasons = models.TextField(blank=True, default="", help_text="One a line; those at first if blank.")
    is_demo = models.BooleanField(default=False)
    created_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["name"]
        constraints = [
            models.CheckConstraint(
                condition=Q(judge_share__lte=100 - F("both_share")), name="project_shares_within_100"
            ),
            models.CheckConstraint(condition=Q(overlap__gte=1), name="project_overlap_at_least_1"),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def people_share(self) -> int:
        return 100 - self.judge_share - self.both_share


class Version(models.Model):
    """The text of a project's guidelines or rubric as it stood under one version number. Never changed."""

    GUIDELINES, RUBRIC = "guidelines", "rubric"
    KINDS = [(GUIDELINES, "guidelines"), (RUBRIC, "rubric")]

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="versions")
    kind = models.CharField(max_length=10, choices=KINDS)
    number = models.PositiveIntegerField()
    body = models.JSONField(help_text="The Markdown of the guidelines, or the list of questions.")
    created_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["project", "kind", "number"], name="version_unique_number"),
        ]


class Question(models.Model):
    """One thing asked of a rater. `config` is checked by `annotate.questions` for its kind."""

    PREFERENCE, RATING, RANKING = "preference", "rating", "ranking"
    CRITIQUE, CHOICE, STEP, SPAN = "critique", "choice", "step", "span"
    KINDS = [
        (PREFERENCE, "Preference between two answers"),
        (RATING, "Rating of each answer"),
        (RANKING, "Ranking of several answers"),
        (CRITIQUE, "Critique in words"),
        (CHOICE, "Choice among options"),
        (STEP, "Judgment of each step"),
        (SPAN, "Passages marked in an answer"),
    ]

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="questions")
    name = models.SlugField(max_length=60, help_text="The key in files: helpful, preference …")
    kind = models.CharField(max_length=12, choices=KINDS)
    title = models.CharField(max_length=160)
    description = models.TextField(blank=True)
    position = models.PositiveSmallIntegerField(default=0)
    required = models.BooleanField(default=True)
    weight = models.FloatField(default=1.0, help_text="What a rating criterion counts for in the rubric's total.")
    is_veto = models.BooleanField(default=False, help_text="A failing rating here outweighs all others.")
    config = models.JSONField(default=dict, blank=True)

    class Meta:
        ordering = ["position", "id"]
        constraints = [models.UniqueConstraint(fields=["project", "name"], name="question_unique_name")]

    def __str__(self) -> str:
        return self.title


class Membership(models.Model):
    """What a user may do in one project."""

    MANAGER, REVIEWER, ANNOTATOR = "manager", "reviewer", "annotator"
    ROLES = [
        (MANAGER, gettext_lazy("manager")),
        (REVIEWER, gettext_lazy("reviewer")),
        (ANNOTATOR, gettext_lazy("annotator")),
    ]
    NOT_TAKEN, PASSED, FAILED = "", "passed", "failed"
    QUIZ_STATES = [(NOT_TAKEN, "not taken"), (PASSED, "passed"), (FAILED, "failed")]

    # The quiz ended in this request: not stored, set by `annotate.quality.phases`, so that the result is shown.
    quiz_ended: bool = False

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="memberships")
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=10, choices=ROLES, default=ANNOTATOR)
    skills = models.JSONField(default=list, blank=True, help_text='what pools ask for: ["python", "de"]')
    is_paused = models.BooleanField(default=False, help_text="A paused member gets no items.")
    daily_quota = models.PositiveIntegerField(null=True, blank=True, help_text="The project's if blank.")
    total_quota = models.PositiveIntegerField(null=True, blank=True, help_text="The project's if blank.")
    trained_at = models.DateTimeField(null=True, blank=True, help_text="when the training items were done")
    quiz_state = models.CharField(max_length=6, choices=QUIZ_STATES, default=NOT_TAKEN, blank=True)
    quiz_version = models.PositiveIntegerField(null=True, blank=True, help_text="of the guidelines, at the result")
    quiz_attempt = models.PositiveSmallIntegerField(default=1, help_text="the attempt that runs or ran last, from 1")
    quiz_first = models.PositiveSmallIntegerField(default=1, help_text="the attempt since which they are counted")
    quiz_right = models.PositiveSmallIntegerField(default=0)
    quiz_asked = models.PositiveSmallIntegerField(default=0)
    on_leaderboard = models.BooleanField(default=False, help_text="by their own choice")
    pay_rate = models.DecimalField(
        max_digits=10, decimal_places=4, null=True, blank=True, help_text="The project's if blank."
    )
    created_at = models.DateTimeField(default=timezone.now)

    # Has the project any pools? Not stored: `annotate.access` reads it along; None where nobody has looked.
    has_pools: bool | None = None

    class Meta:
        constraints = [models.UniqueConstraint(fields=["project", "user"], name="membership_unique_user")]

    def __str__(self) -> str:
        return f"{self.user} ({self.role})"


class Pool(models.Model):
    """Who may label an item: the people who are named, and those who have all the skills.

    People are named by their user names, so that a file can name somebody who has not joined yet.
    """

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="pools")
    name = models.CharField(max_length=120)
    skills = models.JSONField(default=list, blank=True, help_text="All of these are needed; nobody by skill if empty.")
    people = models.JSONField(default=list, blank=True, help_text="user names")
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        ordering = ["name"]
        constraints = [models.UniqueConstraint(fields=["project", "name"], name="pool_unique_name")]

    def __str__(self) -> str:
        return self.name


class Invitation(models.Model):
    """A signed, expiring way in for one e-mail address, to one project in one role (or as an admin)."""

    email = models.EmailField()
    project = models.ForeignKey(Project, null=True, blank=True, on_delete=models.CASCADE, related_name="invitations")
    role = models.CharField(max_length=10, choices=[*Membership.ROLES, ("admin", gettext_lazy("admin"))])
    invited_by = models.ForeignKey(User, null=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField(default=timezone.now)
    expires_at = models.DateTimeField()
    accepted_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-created_at"]


class Tally(models.Model):
    """A kept count that pages show. Spread over shards so that parallel submits do not wait for one row."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="tallies")
    name = models.CharField(max_length=40)
    shard = models.PositiveSmallIntegerField()
    value = models.BigIntegerField(default=0)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["project", "name", "shard"], name="tally_unique_shard")]
