"""Questions and answers, and the language models that learn them: the counterparts of task, cell, models, train and
evidence."""
