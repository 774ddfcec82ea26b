"""Reading files: every kind of damage is one sentence with its row, and the whole file is never in memory."""

import gzip
import tracemalloc

import pytest

from annotate.importing.errors import RowError
from annotate.importing.reading import LINE_LIMIT, OpenFile, Row, delimiter_of, opened, rows


def read(path, reads="json"):
    """(good rows by number, errors by number) of a file."""
    with opened(path) as file:
        found = list(rows(file, reads))
    good = {row.number: row.fields for row in found if isinstance(row, Row)}
    return good, {error.row: error.message for error in found if isinstance(error, RowError)}


def test_json_lines_are_numbered_as_lines_and_blank_ones_passed_over(write):
    good, errors = read(write('{"a": 1}\n\n{"a": 2}'))

    assert good == {1: {"a": 1}, 3: {"a": 2}}
    assert errors == {}


def test_a_packed_file_is_known_by_its_content_and_not_by_its_name(write):
    packed = gzip.compress(b'{"a": 1}\n')

    assert read(write(packed, "no-suffix"))[0] == {1: {"a": 1}}


def test_a_mark_of_utf_8_at_the_start_is_passed_over(write):
    assert read(write(b'\xef\xbb\xbf{"a": 1}\n'))[0] == {1: {"a": 1}}


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b'{"a": 1', "not valid JSON (Expecting ',' delimiter at character 8): write one object a line."),
        (b'"text"', "not a JSON object: write one {…} a line."),
        (b"[1, 2]", "a JSON list: write one object a line, without the outer [ ] and commas."),
        (b'{"a": NaN}', "NaN is no JSON number"),
        (b'{"a": ' + b"9" * 5000 + b"}", "not valid JSON"),
        (b'{"a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nests too deep"),
        (b'{"a": "gr\xfc\xdfe"}', "not UTF-8 at byte 10: save the file as UTF-8."),
        (b'{"a": "x\0"}', "NUL byte, which databases cannot store: remove it."),
    ],
)
def test_a_bad_line_is_one_sentence_and_the_next_line_is_read(write, line, words):
    good, errors = read(write(b'{"a": 0}\n' + line + b'\n{"a": 2}\n'))

    assert good == {1: {"a": 0}, 3: {"a": 2}}
    assert list(errors) == [2]
    assert words in errors[2]


def test_a_line_of_50_mb_is_refused_without_being_held(write):
    path = write(b'{"a": 0}\n{"a": "' + b"x" * (50 * 2**20) + b'"}\n{"a": 2}\n')
    tracemalloc.start()
    good, errors = read(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert good == {1: {"a": 0}, 3: {"a": 2}}
    assert errors == {2: "the line is longer than 10 MB: shorten or split it."}
    assert peak < 2.5 * LINE_LIMIT


def test_a_truncated_gzip_keeps_its_place(write):
    path = write([{"a": n, "text": "x" * 50} for n in range(5000)], "items.jsonl.gz")
    path.write_bytes(path.read_bytes()[:-200])
    good, errors = read(path)

    assert list(errors.values()) == ["the gzip file ends in the middle: copy or pack it again."]
    assert list(errors) == [len(good) + 1]


def test_a_damaged_gzip_keeps_its_place(write):
    path = write([{"a": n} for n in range(20_000)], "items.jsonl.gz")
    data = bytearray(path.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 40] = bytes(40)
    path.write_bytes(bytes(data))
    _, errors = read(path)

    assert "the gzip file is damaged here" in list(errors.values())[-1]


@pytest.mark.parametrize("content", ["", "\n  \n\n"])
@pytest.mark.parametrize("reads", ["json", "csv"])
def test_an_empty_file_is_an_error(write, content, reads):
    assert read(write(content), reads)[1] == {1: "the file holds no rows: choose a file with at least one."}


@pytest.mark.parametrize(
    ("start", "words"),
    [(b"PK\x03\x04", "Excel"), (b"\xff\xfe{", "UTF-16"), (b"PAR1", "Parquet"), (b"BZh9", "bzip2")],
)
def test_what_is_no_text_is_named(write, start, words):
    with pytest.raises(RowError, match=words), opened(write(start + b"rest")):
        pass


def test_how_far_the_reading_is_counts_bytes_on_the_disk(write):
    path = write([{"a": n, "text": str(n) * 40} for n in range(20_000)], "items.jsonl.gz")
    with opened(path) as file:
        places = [file.position() for _ in rows(file, "json")]

    assert places[0] < places[-1] <= path.stat().st_size
    assert places == sorted(places)


def test_a_cap_ends_the_reading_at_a_whole_line(write):
    path = write([{"a": n} for n in range(100)])
    with opened(path, most=50) as file:
        found = list(rows(file, "json"))

    assert [row.fields["a"] for row in found] == [0, 1, 2, 3, 4]


# --- CSV ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mark", [",", ";", "\t", "|"])
def test_the_delimiter_is_found_in_the_header(write, mark):
    good, errors = read(write(f"question{mark}answer\nWhat{mark}That\n", "items.csv"), "csv")

    assert good == {2: {"question": "What", "answer": "That"}}
    assert errors == {}


def test_a_delimiter_inside_quotes_does_not_count():
    assert delimiter_of('"a, b, c";d\n') == ";"


def test_records_are_numbered_as_a_spreadsheet_does(write):
    good, _ = read(write('a,b\n"one\ntwo",2\n3,4\n', "items.csv"), "csv")

    assert good == {2: {"a": "one\ntwo", "b": "2"}, 3: {"a": "3", "b": "4"}}


def test_a_row_with_too_few_cells_is_named_and_the_next_is_read(write):
    good, errors = read(write("a,b,c\n1,2\n3,4,5\n", "items.csv"), "csv")

    assert good == {3: {"a": "3", "b": "4", "c": "5"}}
    assert errors == {2: "there are 2 cells, but the header has 3 columns: quote texts with delimiters."}


@pytest.mark.parametrize(
    ("text", "row", "words"),
    [
        ("a,a\n1,2\n", 1, "two columns are called “a”: rename one."),
        ('a,b\n1,2\n"3,4\n', 3, "a quotation mark is opened and never closed"),
        ('a,b\n"1"x,2\n', 2, "the cells cannot be told apart"),
        ("a,b\n1,\0\n", 2, "NUL byte"),
        (b"a,b\ngr\xfc\xdfe,2\n", 2, "not UTF-8 at byte 3"),
    ],
)
def test_a_bad_csv_is_one_sentence_with_its_row(write, text, row, words):
    _, errors = read(write(text, "items.csv"), "csv")

    assert list(errors) == [row]
    assert words in errors[row]


def test_a_csv_that_never_closes_a_quote_is_not_read_into_memory(write):
    _, errors = read(write('a,b\n1,"' + ("x" * 1000 + "\n") * 12_000, "items.csv"), "csv")

    assert errors == {2: "the row is longer than 10 MB: close its quotation marks, or shorten it."}


def test_a_truncated_packed_csv_keeps_its_place(write):
    path = write("a,b\n" + "".join(f"{n},{n * 7}\n" for n in range(50_000)), "items.csv.gz")
    path.write_bytes(path.read_bytes()[:-100])
    good, errors = read(path, "csv")

    assert list(errors) == [max(good) + 1]
    assert "ends in the middle" in list(errors.values())[0]


def test_an_open_file_knows_its_size(write):
    path = write("0123456789")
    with opened(path) as file:
        assert isinstance(file, OpenFile)
        assert file.size == 10
