"""The tables of people and judgments, in the words of the field (see docs/reference/words.md)."""

from annotate.models.acts import Act, AppendOnly
from annotate.models.annotations import Annotation, Assignment, Change, Label, Prior, Rater
from annotate.models.bulk import BulkAct, BulkChange
from annotate.models.flags import Flag
from annotate.models.items import Attachment, Import, Item, Response
from annotate.models.managing import ListColumns, SavedView
from annotate.models.projects import Invitation, Membership, Pool, Project, Question, Tally, User, Version
from annotate.models.quality import Comment, Exclusion, Gold, GoldAnswer, Return, Suspicion, Trust
from annotate.models.statistics import Fit, Measurement, RaterSkill
from annotate.models.work import RaterPace, Rollup, WorkHour

__all__ = [
    "Act",
    "Annotation",
    "AppendOnly",
    "Assignment",
    "Attachment",
    "BulkAct",
    "BulkChange",
    "Change",
    "Comment",
    "Exclusion",
    "Suspicion",
    "Trust",
    "Flag",
    "Fit",
    "Gold",
    "GoldAnswer",
    "Import",
    "Invitation",
    "Item",
    "Label",
    "ListColumns",
    "Measurement",
    "Membership",
    "Pool",
    "Prior",
    "Project",
    "Question",
    "Rater",
    "RaterPace",
    "RaterSkill",
    "Response",
    "Return",
    "Rollup",
    "SavedView",
    "Tally",
    "User",
    "Version",
    "WorkHour",
]
