"""The further questions, each answered by a notebook of its own: tables, findings in words, figures."""
