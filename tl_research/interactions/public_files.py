"""Public sets of interactions: where their files come from."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tl_research.data.fetch import RemoteFile

# name, bytes, sha256
_AMAZON = (
    ("electronic_phone__train.txt", 1_424_620, "cb09610ab143478097937c235c4932fe39b5c664d434dd5abba3c5eb5d75f028"),
    ("electronic_phone__test.txt", 31_982, "322a8e4c7b5d10e2a3d91dbb2d7833eaf2ba684f4c5109dc1ea4e6ee08119c46"),
    ("electronic_phone__test_original.txt", 41_498, "b513255035eb30808e9cc396b180f48df7e6bbd6726ed7415c00f0aab78ba565"),
    ("phone_electronic__train.txt", 609_415, "a439eb3fdf4d08e58da1d86e1f711cf0acf59f28944d347ad4b3fb9454df54f9"),
    ("phone_electronic__test.txt", 31_077, "a3d0d2fb03c25994c3509af3acc6eeca5009b00751f9b12e28fdf52843a027c6"),
    ("phone_electronic__test_original.txt", 40_318, "9e7f12e47f649c721bbe4e45e49d59e3b4cf4aecea0f2f45ac007fa188077b65"),
    ("sport_phone__train.txt", 612_708, "c55f3f576465795163f45cdb6df9484626dfbb12799393a7d06e4401cfcb6f3a"),
    ("sport_phone__test.txt", 45_250, "5ff3bc25da94612e7a35672edba277c4acc497cc8d87d268bca891e64dc98640"),
    ("sport_phone__test_original.txt", 61_239, "78cd3e7fa755fc0c7ffe10ab61a20f3626ed81b099dfc633b08e59cf83dcc535"),
    ("phone_sport__train.txt", 510_647, "d38cd0da5379bbec03a19cc3eb95a8b52caeeb179dfb515ba2d894b1e193572d"),
    ("phone_sport__test.txt", 48_067, "1665b2846c5011ca870ff79bcfb3cc632aa3eeaa6ea9853ee45549ac0858b444"),
    ("phone_sport__test_original.txt", 60_073, "17894bfdd8daecda579ca2f454b4a1282187efc52705b731dd16893c44a0abdb"),
    ("sport_cloth__train.txt", 1_150_235, "45c517a6fc7721f168411b69eb3f6e6ef896bbe06f599f6f7b4a5844ff925629"),
    ("sport_cloth__test.txt", 103_831, "7b43d370047f23cbc6862188aba53b3a3241948255584a1f3f5c189118f16490"),
    ("sport_cloth__test_original.txt", 124_070, "79c4f4ca9e6a694652df32c8eabc73f6b6e62719f9579e89a44210ccb0c2d460"),
    ("cloth_sport__train.txt", 1_097_669, "3e039ec9baff975cb47722c4704f7d2103c2bbf2a3c30ed2d264e17b69d4fd0a"),
    ("cloth_sport__test.txt", 93_917, "0d034810261027b080d506399426d3eb4f26b4b90a121fe79ebaef246a82b1bd"),
    ("cloth_sport__test_original.txt", 124_110, "1e35975cd187d2d69a52cd6ae14f1ce8845ad0cba897ca65481e74c3ca487ff2"),
    ("electronic_cloth__train.txt", 2_711_201, "fbccec759f2acfec35927c07a1a4bd911f75106de34d6b21e7d7a8a7ffc68e81"),
    ("electronic_cloth__test.txt", 181_464, "1a1a5ce75f986052afc05337ea5d1e5ac44c7017f06f1ecc5ccadb523aadf08d"),
    (
        "electronic_cloth__test_original.txt",
        206_892,
        "1db273571bb0e59f7d595c682d4074e9f976bcaf2fe21e15c4623bc16bc14686",
    ),
    ("cloth_electronic__train.txt", 1_569_278, "678124e0dbf8d162041f8b656bd5e89ee2a678df2c85812f94fd7c0bd2062f6f"),
    ("cloth_electronic__test.txt", 161_965, "0b604b69d3eb531bf99a11e2322f247694f7a593905e0c0c04c54e2a58fb0f78"),
    (
        "cloth_electronic__test_original.txt",
        204_562,
        "ab4c404114d7d641edfa1f5759ec1aae9b0cc5eb55c4d5ea61437c43c96b1800",
    ),
)
_BITGCF = (
    ("cell_electronic__new_reindex.txt", 649_733, "a575094687258e3ebfa695f98918ba8d692203ea749a1ce8c037d0a80ea5b38e"),
    ("cell_electronic__test_neg.txt", 1_821_066, "6207107a8323bc47134a68ea3436e67d1738a7ef15062927f45211569b3e396b"),
    ("electronic_cell__new_reindex.txt", 1_466_118, "2bc9570de5fad1b3663cc57cb864399aa92125b8be169d9a145309e407a5ca68"),
    ("electronic_cell__test_neg.txt", 1_927_298, "32743a65eae5bfff9d123c445cca68cc1a4669de2e7238b679e8d19545b46671"),
)
_XMARKET = (
    ("ca_5core.txt", 2_462_869, "a8b2f9c2e4f0934bad03ebb6127817263cfd79c7e416ca79d8ab9696c3918bcb"),
    ("uk_5core.txt", 1_735_109, "757011193b2878c08d3589c4ec0aecff015f898e56b22c412b95529707adf0d8"),
    ("fr_5core.txt", 969_344, "48dc17f037eb13fce65ad72428cedf691d3aade016229699045d2f05806775fb"),
    ("de_5core.txt", 951_524, "d4058d929a880c387efd2f330d8010ec25904f53ef40b3d722487dfd182d2632"),
    ("mx_5core.txt", 940_249, "3178c95adf0b57980b89d1b3f38bea1a2741083a589a6ae7e3807511749d179f"),
    ("jp_5core.txt", 246_699, "bbf2e3a713385bdc25abfcdc6a99e48902ed9870f1f2943ff3c6152ff3b64e1c"),
    ("in_5core.txt", 110_849, "56701302e04b9a1e2e690ab8687e4be0d42d154c6d99bb87fd2d9b882d517deb"),
)
_DOUBAN = (
    ("douban_book_ratings.dat", 1_116_081, "cc1c191fabe2e05e95cd6dbe7be19d13ed3e1b27b80be2050e4f6b4e40945ddd"),
    ("douban_music_ratings.dat", 811_063, "40944be25f79e6cf80ab9acf0dca8f4b9b9fe2724a068702294608883ad46775"),
)


def _files(
    listed: Sequence[tuple[str, int, str]], repo: str, commit: str, folder: str, path: Callable[[str], str]
) -> list[RemoteFile]:
    return [
        RemoteFile(name=name, repo=repo, commit=commit, path=path(name), bytes=size, sha256=sha, mirror_folder=folder)
        for name, size, sha in listed
    ]


#: Pairs of Amazon departments with shared users; train and test as DisenCDR ships them (SIGIR 2022).
AMAZON_CDR = _files(
    _AMAZON,
    "cjx96/DisenCDR",
    "4e6d60bad4d5185c99ab60423b48f87f88aa03a3",
    "cdr_disencdr",
    lambda name: f"dataset/{name.replace('__', '/')}",
)
#: 99 fixed negatives per test row of phone<->electronic, and the rows in whose ids they are (BiTGCF, CIKM 2020).
AMAZON_NEGATIVES = _files(
    _BITGCF,
    "sunshinelium/Bi-TGCF",
    "4833c1f465ec0be6469e23aa0799aae95db058dc",
    "cdr_bitgcf_phone_elec",
    lambda name: f"Data/{name.replace('__', '/')}",
)
#: Electronics of seven countries with shared items and times (FOREC, CIKM 2021).
XMARKET = _files(
    _XMARKET,
    "hamedrab/FOREC",
    "c10cef9e1823474e71e6300243cf7cd643e2f7af",
    "xmarket_forec",
    lambda name: f"DATA/proc_data/{name}",
)
#: Ratings of books and music by shared users (GA-DTCDR, IJCAI 2020).
DOUBAN = _files(
    _DOUBAN,
    "fengzhu1/GA-DTCDR",
    "11a1dc6fda5148c8b1ce412ed4e2f0c4f124e2d0",
    "douban_book_music",
    lambda name: f"Data/{name.replace('_ratings', '/ratings')}",
)
FILES = {"amazon_cdr": AMAZON_CDR, "amazon_cdr_negatives": AMAZON_NEGATIVES, "xmarket": XMARKET, "douban": DOUBAN}
