from descent.report import theme


def curves(frames):
    """Loss and curvature along the descent, mean and 95 % band over seeds. A cross marks where a seed diverged.

    Alt: Two rows of curves; the smoothed descent ends at the lowest curvature on both surfaces.
    """
    figure, axes = theme.grid(2, 2, sharex=True)
    for column, data in enumerate(("plain", "rough")):
        for row, (metric, log) in enumerate((("loss", True), ("curvature", False))):
            ax = axes[row, column]
            for method in ("gd", "sam", "drift", "climb"):
                theme.band(ax, frames.select("descent", metric, method, data=data), method=method, log=log)
            ax.set(ylabel=metric, yscale="log" if log else "linear", title=f"{data}: {metric}")
    for ax in axes[1]:
        ax.set_xlabel("step")
    theme.legend(figure, axes)
    return figure


def finals(frames):
    """Final curvature, a point a seed."""
    figure, axes = theme.grid(1, 2)
    for ax, data in zip(axes[0], ("plain", "rough"), strict=True):
        for at, method in enumerate(("gd", "sam", "drift", "climb")):
            rows = frames.select("descent", "curvature", method, data=data)
            if rows.empty:
                continue
            theme.points(ax, at, rows[rows["step"] == rows["step"].max()]["value"], method)
        ax.set(title=data, xticks=range(4), ylabel="final curvature")
        ax.set_xticklabels(["GD", "SAM", "control", "smoothed"])
    return figure


def sweep(frames):
    """Curvature for every smoothing; darker is larger."""
    figure, axes = theme.grid(1, 1, width=5)
    ax = axes[0, 0]
    rows = frames.records("sweep")
    values = sorted(rows["smoothing"].unique())
    for value, shade in zip(values, theme.shades("climb", len(values)), strict=True):
        part = frames.select("sweep", "curvature", "climb", smoothing=value)
        theme.band(ax, part, method="climb", color=shade, label=f"smoothing {value}")
    ax.set(xlabel="step", ylabel="curvature")
    theme.legend(figure, axes)
    return figure


def language(frames):
    """The language model's loss."""
    figure, axes = theme.grid(1, 1)
    theme.band(axes[0, 0], frames.select("language", "loss", "climb"), method="climb")
    return figure


FIGURES = {"F1": curves, "F2": finals, "F3": sweep, "F4": language}
