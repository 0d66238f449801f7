"""The errors a user can meet: each message is one clear sentence."""


class CmudrnError(Exception):
    """What went wrong, as one sentence for a person: the command line prints it and nothing else.

    Raise it (or a subclass) for anything a user can cause: a bad file, an unknown name, a full
    disk. Anything else that escapes is a defect of this program.
    """
