"""The shape of a grid as a JSON schema. notebooks/grids/README.md says what its parts mean."""

PROFILES = ("smoke", "small", "full", "pretrained", "paper")
ENTRY = ("notebook", "each", "with", "set", "after", "makes")


def _names(of: str) -> dict:
    text = f"must be a list of names of {of}"
    return {"type": "array", "items": {"type": "string", "minLength": 1, "description": text}, "description": text}


JOB = {
    "type": "object",
    "description": "must be a job, a mapping with at least `notebook`",
    "required": ["notebook"],
    "properties": {
        "notebook": {"type": "string", "minLength": 1, "description": "must be a notebook's name, as 30_unlearn"},
        "each": _names("values"),
        "with": _names("values"),
        "set": {"type": "object", "description": "must be a mapping of names to values"},
        "after": _names("notebooks"),
        "makes": _names("tables and figures"),
    },
}
GRID = {
    "type": "object",
    "description": "not a grid with `profiles` and `jobs`, and nothing else",
    "required": ["profiles", "jobs"],
    "additionalProperties": False,
    "properties": {
        "profiles": {
            "type": "object",
            "description": "must be a mapping of profiles to their values",
            "propertyNames": {"enum": list(PROFILES), "description": f"a profile must be one of {', '.join(PROFILES)}"},
            "additionalProperties": {"type": "object", "description": "must be a mapping of names to values, or {}"},
        },
        "jobs": {"type": "array", "description": "must be a list of jobs", "items": JOB},
    },
}
