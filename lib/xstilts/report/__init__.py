"""A study's executed notebooks as a browsable site: ``runs/<study>/report/``."""
