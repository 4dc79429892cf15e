"""The table of hostile inputs: every one is tried by test_hostile.py, and counted by whoever asks for CASES."""

import hostile_checkpoints
import hostile_data
import hostile_files
import hostile_parameters

CASES = [*hostile_files.CASES, *hostile_data.CASES, *hostile_parameters.CASES, *hostile_checkpoints.CASES]
