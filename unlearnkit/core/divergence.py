"""Divergences of predicted distributions, for methods that minimise them and metrics that report them."""

import torch
from torch import Tensor


def kl(log_p: Tensor, log_q: Tensor) -> Tensor:
    """KL(p || q) of each row, summed over the classes, nats. log_p, log_q: (n, classes); returns (n,)."""
    return torch.where(log_p == -torch.inf, 0.0, log_p.exp() * (log_p - log_q)).sum(1)


def js(log_p: Tensor, log_q: Tensor) -> Tensor:
    """Jensen-Shannon divergence of each row, nats: at most ln 2, reached by disjoint distributions."""
    middle = torch.logaddexp(log_p, log_q) - torch.log(torch.tensor(2.0, dtype=log_p.dtype))
    return 0.5 * (kl(log_p, middle) + kl(log_q, middle))
