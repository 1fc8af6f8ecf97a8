"""Does unlearning remove the influence of the samples it is asked to forget, when similar samples stay?

One way through: builder -> task -> reference models -> method -> outputs -> scores -> table or figure.
Start with `unlearnkit.study`, or with `notebooks/00_tour.ipynb`.
"""

__version__ = "0.1.0"
