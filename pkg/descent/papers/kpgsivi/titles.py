"""Names that several figures share."""

TOYS = ("multimodal", "banana", "x_shaped")
TARGETS = (*TOYS, "logistic", "diffusion")
TITLES = {
    "multimodal": "two modes", "banana": "banana", "x_shaped": "cross", "logistic": "logistic regression", "diffusion": "diffusion",
}  # fmt: skip
GREY = "#555555"
