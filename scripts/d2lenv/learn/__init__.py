"""What a learner opens: the lab, the books, `#@save`."""
