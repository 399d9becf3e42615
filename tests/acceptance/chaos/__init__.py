"""Jobs are submitted, canceled and watched while servers are killed; afterwards everything that was promised is counted.

`make chaos` is the long form, test_chaos.py the short one.
"""
