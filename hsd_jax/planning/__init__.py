"""What a run would need on a TPU slice, found out on any machine: memory by compiling, seconds by a roofline."""
