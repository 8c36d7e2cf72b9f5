"""What every room stands on: errors, files, time, tables, settings, engines, metrics, charts."""
