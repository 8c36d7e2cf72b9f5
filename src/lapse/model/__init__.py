"""The churn model: split, fit, calibrate, bundle."""
