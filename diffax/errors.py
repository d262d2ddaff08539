"""Errors that a user can mend; `main` prints them without a traceback."""


class UserError(ValueError):
  """Report a mistake in what the user gave: a file, a flag or a config."""


class DataError(UserError):
  """Report a bad value in a file.

  Args:
    file: path of the file.
    field: the part of the file that is wrong.
    expected: what the field should hold.
    found: what it holds.
    mend: what the user can do about it.
  """

  def __init__(
      self, file: object, field: str, expected: str, found: str, mend: str = ''
  ):
    self.file, self.field = str(file), field
    self.expected, self.found = expected, found
    message = f'{file}: {field}: expected {expected}, found {found}'
    super().__init__(f'{message}. {mend}' if mend else f'{message}.')
