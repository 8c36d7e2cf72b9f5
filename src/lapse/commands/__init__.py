"""The commands of the command line, by what they are for. Each imports what is heavy when it runs."""
