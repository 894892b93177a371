"""Carrying out one run: data, model, engine, loop, checkpoints. Only here torch and deepspeed are imported."""
