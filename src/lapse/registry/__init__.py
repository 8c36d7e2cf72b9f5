"""MLflow: the record of every training, the gate, and the champion."""
