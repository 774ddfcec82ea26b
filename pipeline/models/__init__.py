"""The tables of judges, routing, datasets, runs and models."""

from pipeline.models.beliefs import Belief, LabelFit
from pipeline.models.datasets import Snapshot, SnapshotCut, SnapshotItem
from pipeline.models.judges import Judge, JudgeCall, JudgeMember, JudgeReply
from pipeline.models.loops import Loop, LoopFiring
from pipeline.models.prompts import JudgePrompt
from pipeline.models.quality import Block, Calibration, JudgeReport, PriorWork, ProbeLimit, Proposal, Study, StudyCall
from pipeline.models.registry import ModelVersion
from pipeline.models.routing import Certificate, Route, RoutingPolicy, RoutingState
from pipeline.models.runs import Run, RunEvent

__all__ = [
    "Belief",
    "Block",
    "Calibration",
    "Certificate",
    "Judge",
    "JudgeCall",
    "JudgeMember",
    "JudgePrompt",
    "JudgeReply",
    "JudgeReport",
    "LabelFit",
    "Loop",
    "LoopFiring",
    "ModelVersion",
    "PriorWork",
    "ProbeLimit",
    "Proposal",
    "Route",
    "RoutingPolicy",
    "RoutingState",
    "Run",
    "RunEvent",
    "Snapshot",
    "SnapshotCut",
    "SnapshotItem",
    "Study",
    "StudyCall",
]
