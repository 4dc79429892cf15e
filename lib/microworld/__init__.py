"""The micro-world: a generated multilingual world of constructed languages."""
