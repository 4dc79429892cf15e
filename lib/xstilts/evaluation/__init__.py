"""From an encoder and examples to predictions, and to the statistics that scores are made of."""
