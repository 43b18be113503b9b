"""The stages of a study, from files to report, each of which can be stopped, continued and done elsewhere."""

from synthoma.protocol.prepare import prepare
from synthoma.protocol.run import run
from synthoma.protocol.stages import checkpoint_of, evaluate_stage, generate_stage, report_stage, train_stage

__all__ = ["checkpoint_of", "evaluate_stage", "generate_stage", "prepare", "report_stage", "run", "train_stage"]
