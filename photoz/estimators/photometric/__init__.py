"""Estimators that are fitted to arrays of magnitudes in one task.

"The classroom project" is the comparison of estimators on galaxy photometry that this project started from: six fluxes
(u g r i z Y) and the angular resolution of some 50,000 galaxies. What is named after it here follows its recipe.
"""
