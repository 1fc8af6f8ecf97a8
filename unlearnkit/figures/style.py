"""How all figures look."""

import matplotlib.pyplot as plt
import seaborn as sns
from matplotlib.figure import Figure

sns.set_theme(style="whitegrid", context="notebook")
plt.rcParams["savefig.bbox"] = "tight"


def finished(figure: Figure) -> Figure:
    """Out of pyplot's hands, or a notebook would show it twice."""
    plt.close(figure)
    return figure
