"""How far the model can be trusted: back-test, baselines, grade, report."""
