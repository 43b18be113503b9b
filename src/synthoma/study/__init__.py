"""The blinded reader study: design, pages, answers. Importing this is cheap; the web's packages wait for their files.

Who knows what: ``key.json`` alone says which image is synthetic. It is written at creation and read by export and
analysis; the server never opens it, so nothing that it sends (a name, a size, its time) can depend on the origin.
"""

from synthoma.study.folder import Design, Key, Study, open_key, open_study
from synthoma.study.options import SCALES, StudyOptions
from synthoma.study.parts import check_parts

__all__ = ["SCALES", "Design", "Key", "Study", "StudyOptions", "check_parts", "open_key", "open_study"]
