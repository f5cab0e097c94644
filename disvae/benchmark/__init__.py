"""How fast this machine trains, against a plain loop and against what its arithmetic allows."""
