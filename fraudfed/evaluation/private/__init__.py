"""What a model is worth, from one noised release: the verdict of a run with privacy terms.

In the order in which data flows: ``cells`` are the public ranges of scores, ``own_counts`` limits
and counts one bank's rows, ``release`` sums them with noise, ``monotone`` makes counts of rows of
what is opened, ``estimates`` reads metrics off them, ``report`` holds them.
"""
