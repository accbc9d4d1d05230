"""The paper "On the Overlooked Structure of Stochastic Gradients" (Xie, Tang, Sun, Li 2023), declared."""
