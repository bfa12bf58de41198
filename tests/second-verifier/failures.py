"""What a verifier says when something does not hold."""


class Failure(Exception):
    """A failure code of spec/4-verification.md, section 5, or of a C2SP object."""

    def __init__(self, code):
        super().__init__(code)
        self.code = code


def demand(holds, code):
    if not holds:
        raise Failure(code)


def remembered(most):
    """Keeps what a pure function answered, failures too; begins anew when it has kept `most`."""

    def decorate(function):
        kept = {}

        def call(*arguments):
            found = kept.get(arguments)
            if found is None:
                try:
                    found = (function(*arguments), None)
                except Failure as failure:
                    found = (None, failure.code)
                if len(kept) >= most:
                    kept.clear()
                kept[arguments] = found
            answer, code = found
            if code is not None:
                raise Failure(code)
            return answer

        return call

    return decorate
