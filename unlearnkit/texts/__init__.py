"""Questions and answers, and the language models trained on them: the counterpart of unlearnkit.images, file by
file."""
