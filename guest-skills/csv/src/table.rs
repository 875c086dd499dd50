//! CSV text to table and back.

use csv::{ReaderBuilder, StringRecord, Terminator, WriterBuilder};

use crate::bindings::{Error, ErrorCode, Table};
use crate::error::{check_output, fail, fail_at};
use crate::limits::{MAX_COLUMNS, MAX_FIELDS, MAX_TEXT_BYTES};

/// The table of a CSV text.
pub(crate) fn parse(text: &str, delimiter: Option<char>, pad: bool) -> Result<Table, Error> {
    if text.len() > MAX_TEXT_BYTES {
        let message = format!("the text has more than {MAX_TEXT_BYTES} bytes: give it in parts");
        return Err(fail(ErrorCode::TooLarge, message));
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    // Ragged rows are this module's to judge: the library's own check cannot pad.
    let mut reader =
        ReaderBuilder::new().delimiter(byte(delimiter)?).has_headers(false).flexible(true).from_reader(text.as_bytes());
    let mut record = StringRecord::new();
    let mut header: Option<Vec<String>> = None;
    let mut rows = Vec::new();
    let mut fields = 0;
    while reader.read_record(&mut record).map_err(|error| unreadable(&error))? {
        let line = record.position().map_or(0, csv::Position::line);
        let Some(header) = &header else {
            header = Some(check_header(record.iter().map(str::to_owned).collect())?);
            continue;
        };
        if record.len() > header.len() || (record.len() < header.len() && !pad) {
            let message = format!(
                "the row has {} fields and the header {}: quote fields that hold the delimiter, or correct the row",
                record.len(),
                header.len()
            );
            return Err(fail_at(ErrorCode::RaggedRow, line, message));
        }
        fields += header.len();
        if fields > MAX_FIELDS {
            let message = format!("the table has more than {MAX_FIELDS} fields: give it in parts");
            return Err(fail_at(ErrorCode::TooLarge, line, message));
        }
        let mut row: Vec<String> = record.iter().map(str::to_owned).collect();
        row.resize(header.len(), String::new());
        rows.push(row);
    }
    match header {
        Some(header) => Ok(Table { header, rows }),
        None => {
            Err(fail(ErrorCode::InvalidHeader, "the text is empty: give at least a row with the names of the columns"))
        }
    }
}

/// The CSV text of a header and rows. Fields are quoted only where they must be; lines end with a line feed.
pub(crate) fn write<'a, Row>(
    header: &[String],
    rows: impl Iterator<Item = Row>,
    delimiter: Option<char>,
) -> Result<String, Error>
where
    Row: IntoIterator<Item = &'a str>,
{
    let failed = |error: csv::Error| fail(ErrorCode::InvalidInput, format!("the table cannot be written: {error}"));
    let mut writer = WriterBuilder::new()
        .delimiter(byte(delimiter)?)
        .terminator(Terminator::Any(b'\n'))
        .flexible(true)
        .from_writer(Vec::new());
    writer.write_record(header).map_err(failed)?;
    for row in rows {
        writer.write_record(row).map_err(failed)?;
        check_output(writer.get_ref().len())?;
    }
    let bytes = writer.into_inner().map_err(|_| fail(ErrorCode::InvalidInput, "the table cannot be written"))?;
    check_output(bytes.len())?;
    String::from_utf8(bytes).map_err(|_| fail(ErrorCode::InvalidInput, "the table is not UTF-8"))
}

/// Where a column stands.
pub(crate) fn column(table: &Table, name: &str) -> Result<usize, Error> {
    table.header.iter().position(|other| other == name).ok_or_else(|| {
        let message = format!("there is no column {name:?}: the columns are {}", table.header.join(", "));
        fail(ErrorCode::UnknownColumn, message)
    })
}

/// Refuses a header whose names do not tell the columns apart.
pub(crate) fn check_header(header: Vec<String>) -> Result<Vec<String>, Error> {
    if header.len() > MAX_COLUMNS {
        return Err(fail(ErrorCode::TooLarge, format!("there are more than {MAX_COLUMNS} columns: give fewer")));
    }
    let mut seen = std::collections::BTreeSet::new();
    for name in &header {
        if !seen.insert(name) {
            let message = format!("two columns have the name {name:?}: give each its own");
            return Err(fail(ErrorCode::InvalidHeader, message));
        }
    }
    Ok(header)
}

fn byte(delimiter: Option<char>) -> Result<u8, Error> {
    match delimiter.unwrap_or(',') {
        '"' | '\n' | '\r' => {
            Err(fail(ErrorCode::InvalidInput, "the delimiter is a quote or a line break: give another character"))
        }
        character => u8::try_from(character).ok().filter(u8::is_ascii).ok_or_else(|| {
            fail(ErrorCode::InvalidInput, "the delimiter is not ASCII: give a comma, a semicolon, a tab or the like")
        }),
    }
}

fn unreadable(error: &csv::Error) -> Error {
    let line = error.position().map(csv::Position::line);
    Error { code: ErrorCode::InvalidInput, message: format!("the text cannot be read as CSV: {error}"), line }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(text: &str) -> Vec<Vec<String>> {
        parse(text, None, false).unwrap().rows
    }

    #[test]
    fn quoted_fields_hold_anything() {
        let text = "a,b\r\n\"x, \"\"y\"\"\",\"line 1\nline 2\"\r\nä,\n";
        assert_eq!(rows(text), [["x, \"y\"", "line 1\nline 2"], ["ä", ""]]);
    }

    #[test]
    fn empty_texts_marks_and_lines() {
        for text in ["", "\n\n", "\u{feff}"] {
            assert_eq!(parse(text, None, false).unwrap_err().code, ErrorCode::InvalidHeader, "{text:?}");
        }
        let table = parse("\u{feff}a,b", None, false).unwrap();
        assert_eq!((table.header.as_slice(), table.rows.len()), (["a".to_owned(), "b".to_owned()].as_slice(), 0));
        assert_eq!(rows("a\n\n1\n\n"), [["1"]]);
        assert_eq!(rows("a,b\n1,2"), [["1", "2"]]);
        assert_eq!(rows("a\n\"unclosed\n1"), [["unclosed\n1"]]);
    }

    #[test]
    fn ragged_rows_are_refused_with_their_line() {
        let error = parse("a,b\n1,2\n3\n", None, false).unwrap_err();
        assert_eq!((error.code, error.line), (ErrorCode::RaggedRow, Some(3)));
        assert_eq!(parse("a,b\n3\n", None, true).unwrap().rows, [["3", ""]]);
        assert_eq!(parse("a,b\n1,2,3\n", None, true).unwrap_err().code, ErrorCode::RaggedRow);
    }

    #[test]
    fn delimiters_and_headers() {
        assert_eq!(parse("a;b\n1,5;2", Some(';'), false).unwrap().rows, [["1,5", "2"]]);
        for delimiter in ['"', '\n', '€', 'ÿ'] {
            assert_eq!(parse("a", Some(delimiter), false).unwrap_err().code, ErrorCode::InvalidInput);
        }
        assert_eq!(parse("a,b,a\n", None, false).unwrap_err().code, ErrorCode::InvalidHeader);
        assert_eq!(parse(&",".repeat(MAX_COLUMNS), None, true).unwrap_err().code, ErrorCode::TooLarge);
    }

    #[test]
    fn what_is_written_reads_the_same() {
        let table = parse("a,b\n\"x, \"\"y\"\"\",\"l\r\nm\"\n,\n\" s \",ä\n", None, false).unwrap();
        let text =
            write(&table.header, table.rows.iter().map(|row| row.iter().map(String::as_str)), Some('\t')).unwrap();
        assert_eq!(parse(&text, Some('\t'), false).unwrap(), table);
        let one = parse("a\n\"\"\nx\n", None, false).unwrap();
        assert_eq!(one.rows, [[""], ["x"]]);
        let text = write(&one.header, one.rows.iter().map(|row| row.iter().map(String::as_str)), None).unwrap();
        assert_eq!(parse(&text, None, false).unwrap(), one);
    }
}
