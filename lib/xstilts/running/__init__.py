"""Runs at work: started, followed, and what is said of them."""
