"""A workspace of one's own: `lapse init` makes a folder in which `dvc repro` runs on one's own tables."""
