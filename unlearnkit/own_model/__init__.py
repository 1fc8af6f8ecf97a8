"""A model of your own: `unlearnkit.unlearn`, `unlearnkit.evaluate`, `unlearnkit.find_near_duplicates`.

They take any classifier of torch's with tensors, a Dataset or a DataLoader, or a causal language model of transformers'
with question-answer pairs; nothing of the study (configs, tasks, recipes) has to be known. What comes in is checked
once (`samples`, `classifier`, `language`) and put into the request that every method is given; errors are in the
caller's terms. No result is stored.
"""

from unlearnkit.own_model.duplicates import find_near_duplicates
from unlearnkit.own_model.evaluation import evaluate
from unlearnkit.own_model.unlearning import unlearn

__all__ = ["evaluate", "find_near_duplicates", "unlearn"]
