"""The further questions, each answered by a notebook of its own: its tables, and its answer in words."""
