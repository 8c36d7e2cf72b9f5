"""The churn model: split, fit, calibrate, judge, bundle, record."""
