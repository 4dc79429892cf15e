"""How a study is drawn, and said to those who do not see it."""
