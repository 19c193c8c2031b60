"""Real guests: what Pods do when their virtual machines really run."""
