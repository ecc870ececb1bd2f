"""Hindsight Self-Distillation (arXiv:2606.15576) in JAX: on-policy self-distillation from successful peers."""
