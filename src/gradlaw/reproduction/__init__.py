"""The paper "On the Overlooked Structure of Stochastic Gradients": every table and figure as data, and their runner."""
