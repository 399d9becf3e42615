"""Files that models come in: which format a file is of, and how each is read without running what a stranger wrote."""
