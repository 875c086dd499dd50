//! Keeping some of the rows.

use std::cmp::Ordering;

use crate::bindings::{Error, Filtered, Operator};
use crate::number;
use crate::table::{column, parse, write};

/// The rows whose field in `name` compares with `value` as `operator` says.
pub(crate) fn filter(
    text: &str,
    name: &str,
    operator: Operator,
    value: &str,
    delimiter: Option<char>,
) -> Result<Filtered, Error> {
    let table = parse(text, delimiter, false)?;
    let index = column(&table, name)?;
    let number = number::parse(value);
    let matches = |row: &&Vec<String>| row.get(index).is_some_and(|field| holds(field, operator, value, number));
    let kept: Vec<&Vec<String>> = table.rows.iter().filter(matches).collect();
    let text = write(&table.header, kept.iter().map(|row| row.iter().map(String::as_str)), delimiter)?;
    Ok(Filtered { text, kept: kept.len() as u64, dropped: (table.rows.len() - kept.len()) as u64 })
}

fn holds(field: &str, operator: Operator, value: &str, number: Option<f64>) -> bool {
    let order = || match number {
        Some(number) => number::parse(field).and_then(|field| field.partial_cmp(&number)),
        None => Some(field.cmp(value)),
    };
    match operator {
        Operator::Eq => field == value,
        Operator::Ne => field != value,
        Operator::Lt => order() == Some(Ordering::Less),
        Operator::Le => order().is_some_and(Ordering::is_le),
        Operator::Gt => order() == Some(Ordering::Greater),
        Operator::Ge => order().is_some_and(Ordering::is_ge),
        Operator::Contains => field.contains(value),
        Operator::StartsWith => field.starts_with(value),
        Operator::EndsWith => field.ends_with(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bindings::ErrorCode;

    const TEXT: &str = "n,v\na,10\nb,9\nc,\nd,x\n";

    fn kept(name: &str, operator: Operator, value: &str) -> String {
        let result = filter(TEXT, name, operator, value, None).unwrap();
        assert_eq!(result.kept + result.dropped, 4);
        let keys = result.text.lines().skip(1).filter_map(|line| line.split(',').next());
        keys.collect()
    }

    #[test]
    fn numbers_compare_as_numbers_and_text_as_text() {
        assert_eq!(kept("v", Operator::Lt, "10"), "b");
        assert_eq!(kept("v", Operator::Ge, "9.0"), "ab");
        assert_eq!(kept("v", Operator::Gt, "9z"), "d");
        assert_eq!(kept("v", Operator::Eq, "10.0"), "");
        assert_eq!(kept("v", Operator::Eq, ""), "c");
        assert_eq!(kept("v", Operator::Ne, "x"), "abc");
        assert_eq!(kept("n", Operator::Le, "b"), "ab");
    }

    #[test]
    fn parts_of_text() {
        assert_eq!(kept("v", Operator::Contains, "0"), "a");
        assert_eq!(kept("v", Operator::StartsWith, "1"), "a");
        assert_eq!(kept("v", Operator::EndsWith, ""), "abcd");
        let error = filter(TEXT, "N", Operator::Eq, "", None).unwrap_err();
        assert_eq!(error.code, ErrorCode::UnknownColumn);
        assert_eq!(error.message, "there is no column \"N\": the columns are n, v");
    }
}
