"""Questions and answers, and the language models that learn them: the counterparts of task, config, models, train and
outputs."""
