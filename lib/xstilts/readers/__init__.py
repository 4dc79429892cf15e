"""Files of original distributions -> rows in the canonical columns of a task's kind; nothing heavy is imported."""
