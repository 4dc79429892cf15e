"""What others published, and how our scores compare with it."""
