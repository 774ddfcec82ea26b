"""Run one stage: `python -m pipeline.ml STAGE run.json`, alone or under `accelerate launch -m`.

Reads the run's folder, writes into it, and needs nothing else: no database, no web app. Starting again in a folder
with checkpoints goes on from the newest; starting in a finished folder does nothing. One stage also runs without a
folder: `python -m pipeline.ml evaluate_reward --model DIR --pairs FILE.jsonl --out report.json`.

Exit codes: 0 done, 1 failed, 2 wrong use, 130 stopped. The number of threads is torch's own OMP_NUM_THREADS.
"""

import argparse
import importlib
import os
import sys
import traceback
import warnings
from pathlib import Path
from typing import TextIO

from pipeline.ml import stopping
from pipeline.ml.configs import ConfigError, EvaluateRewardConfig
from pipeline.ml.records import AlreadyRunning, RunFolder, StageError, Stopped, is_main_process
from pipeline.ml.stages import STAGES

DONE, FAILED, WRONG_USE, STOPPED = 0, 1, 2, stopping.EXIT_STOPPED


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line, run the stage, return the exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    _prepare_libraries()
    if options.stage == "evaluate_reward" and options.run is None:
        return _evaluate_files(parser, options)
    if options.run is None:
        parser.error(f"{options.stage} needs the path of a run.json")
    return run_stage(options.stage, options.run)


def run_stage(name: str, run_file: Path) -> int:
    """Run a stage in the folder of its run.json and leave its outcome there; returns the exit code."""
    if run_file.name != "run.json":
        return _complain(f"{run_file} must be called run.json: the run's folder is named by it.", WRONG_USE)
    try:
        folder = RunFolder(run_file.parent)
    except StageError as error:
        return _complain(str(error), WRONG_USE)
    if folder.stage != name:
        return _complain(f"{run_file} is a run of {folder.stage}, not of {name}.", WRONG_USE)
    stopping.install_handlers()
    try:
        folder.acquire()
    except AlreadyRunning as error:
        return _complain(str(error), FAILED)
    try:
        if folder.is_complete():
            _say(f"{folder.path} is complete: nothing to do.")
            return DONE
        return _run_in(folder)
    finally:
        folder.release()


def _run_in(folder: RunFolder) -> int:
    try:
        stage = STAGES[folder.stage]
        folder.config(stage.config)  # a bad setting should be refused before torch is loaded
        for name in stage.inputs:
            folder.input(name)
        folder.events.progress(0, 0, stage="starting")
        result = importlib.import_module(stage.module).run(folder)
        folder.finish(result)
    except Stopped as stop:
        folder.events.stopped(stop.step)
        return _complain(f"Stopped at step {stop.step}; start again to go on from there.", STOPPED)
    except (StageError, ConfigError) as error:
        folder.events.failed(str(error), expected=True)
        return _complain(str(error), FAILED)
    except Exception as error:  # a crash is recorded with its traceback and ends the process
        trace = traceback.format_exc()
        folder.events.failed(f"{type(error).__name__}: {error}", expected=False, traceback=trace)
        return _complain(trace, FAILED)
    return DONE


def _evaluate_files(parser: argparse.ArgumentParser, options: argparse.Namespace) -> int:
    if options.model is None or options.pairs is None or options.out is None:
        parser.error("evaluate_reward needs a run.json, or --model, --pairs and --out")
    stopping.install_handlers()
    try:
        config = EvaluateRewardConfig(max_length=options.max_length, batch_size=options.batch_size)
        evaluation = importlib.import_module(STAGES["evaluate_reward"].module)
        report = evaluation.evaluate_files(model=options.model, pairs=options.pairs, out=options.out, config=config)
        _say(evaluation.summary(report))
    except (StageError, ConfigError) as error:
        return _complain(str(error), FAILED)
    except Stopped:
        return _complain("Stopped; nothing was written.", STOPPED)
    return DONE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m pipeline.ml", description="Run one stage of the pipeline.")
    stages = parser.add_subparsers(dest="stage", required=True, metavar="STAGE")
    for stage in STAGES.values():
        command = stages.add_parser(stage.name, help=stage.title)
        command.add_argument("run", type=Path, nargs="?", help="the run.json to carry out")
        if stage.name == "evaluate_reward":
            _add_file_options(command)
    return parser


def _add_file_options(command: argparse.ArgumentParser) -> None:
    defaults = EvaluateRewardConfig()
    command.add_argument("--model", type=Path, help="folder of a reward model")
    command.add_argument("--pairs", type=Path, help="preference pairs, one JSON object a line (.gz is fine)")
    command.add_argument("--out", type=Path, help="where to write the report")
    command.add_argument("--max-length", type=int, default=defaults.max_length, help="longest text, in tokens")
    command.add_argument("--batch-size", type=int, default=defaults.batch_size, help="texts in one forward pass")


def _prepare_libraries() -> None:
    """Keep them offline (inputs are folders on this machine; they would ask a model hub about each) and quiet."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    warnings.filterwarnings("ignore", category=FutureWarning)  # notes between libraries, not for a run's log


def _say(message: str) -> None:
    _write(sys.stdout, message)


def _write(stream: TextIO, message: str) -> None:
    if is_main_process():
        stream.write(f"{message}\n")
        stream.flush()


def _complain(message: str, code: int) -> int:
    _write(sys.stderr, message)
    return code


if __name__ == "__main__":
    sys.exit(main())
