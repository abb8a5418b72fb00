"""Experiments on power: oversubscription, curtailment, campus."""
