"""A simulator of the serving graph: arrivals, batches, deadlines, stragglers and lost replicas over measured costs.

Time passes in SimPy's clock alone. What is simulated is what the graph does and how long it takes; no slate is made.
"""
