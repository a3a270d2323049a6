"""The one form of a username: what the user pool knows somebody by, however the name was typed or stored."""


def one_form(username: str) -> str:
    """Give a username without case, composed: "ANA" and "ana", "José" typed on a Mac or not, are one name.

    The pool compares without case, too; it is given this form alone, so that it need not agree with Python
    on what the case of a letter is.
    """
    if username.isascii():
        return username.lower()
    import unicodedata  # its tables are not loaded at every start

    # Before, as a letter in a circle has a case; afterwards, as folding may part a letter from its mark.
    folded = unicodedata.normalize("NFKC", username).casefold()
    return unicodedata.normalize("NFKC", folded)


def forms_of(username: str) -> list[str]:
    """Give what a username may be stored as: as it was typed, and in the one form."""
    return sorted({username, one_form(username)})
