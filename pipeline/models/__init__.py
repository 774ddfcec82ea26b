"""The tables of judges, routing, datasets, runs and models."""

from pipeline.models.datasets import Snapshot, SnapshotCut, SnapshotItem
from pipeline.models.judges import Judge, JudgeCall
from pipeline.models.loops import Loop, LoopFiring
from pipeline.models.registry import ModelVersion
from pipeline.models.routing import Route
from pipeline.models.runs import Run, RunEvent

__all__ = [
    "Judge",
    "JudgeCall",
    "Loop",
    "LoopFiring",
    "ModelVersion",
    "Route",
    "Run",
    "RunEvent",
    "Snapshot",
    "SnapshotCut",
    "SnapshotItem",
]
