//! Counting and summing. Everything is taken in the order of the rows, so equal texts give equal numbers.

use std::collections::{BTreeMap, BTreeSet};

use crate::bindings::{Column, Error, ErrorCode, Group, Summary, Table};
use crate::error::fail;
use crate::limits::MAX_GROUPS;
use crate::number::{self, Sum};
use crate::table::{column, parse};

/// What a table holds.
pub(crate) fn summarise(
    text: &str,
    value: Option<&str>,
    group_by: Option<&str>,
    delimiter: Option<char>,
) -> Result<Summary, Error> {
    let table = parse(text, delimiter, false)?;
    let values = value.map(|name| Ok((name, numbers(&table, name)?))).transpose()?;
    let total = values.as_ref().map(|(name, values)| total(name, values.iter().flatten())).transpose()?;
    let groups = match group_by {
        Some(name) => {
            groups(&table, column(&table, name)?, values.as_ref().map(|(name, values)| (*name, values.as_slice())))?
        }
        None => Vec::new(),
    };
    let columns = table.header.iter().enumerate().map(|(index, name)| describe(&table, index, name)).collect();
    Ok(Summary { rows: table.rows.len() as u64, columns, total, groups })
}

/// The numbers of a column, none for an empty field.
fn numbers(table: &Table, name: &str) -> Result<Vec<Option<f64>>, Error> {
    let index = column(table, name)?;
    let mut numbers = Vec::with_capacity(table.rows.len());
    for (at, row) in table.rows.iter().enumerate() {
        let field = row.get(index).map_or("", String::as_str);
        match number::parse(field) {
            None if field.is_empty() => numbers.push(None),
            None => {
                let field: String = field.chars().take(40).collect();
                let message = format!("row {} has {field:?} in column {name:?}: filter such rows out first", at + 1);
                return Err(fail(ErrorCode::NotANumber, message));
            }
            number => numbers.push(number),
        }
    }
    Ok(numbers)
}

fn total<'a>(name: &str, numbers: impl Iterator<Item = &'a f64>) -> Result<f64, Error> {
    let mut sum = Sum::default();
    numbers.for_each(|number| sum.add(*number));
    sum.value().ok_or_else(|| {
        fail(
            ErrorCode::TooLarge,
            format!("the sum of column {name:?} is beyond what a number can hold: sum smaller parts"),
        )
    })
}

fn groups(table: &Table, by: usize, values: Option<(&str, &[Option<f64>])>) -> Result<Vec<Group>, Error> {
    let mut members: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (at, row) in table.rows.iter().enumerate() {
        members.entry(row.get(by).map_or("", String::as_str)).or_default().push(at);
        if members.len() > MAX_GROUPS {
            let message = format!("there are more than {MAX_GROUPS} groups: group by another column");
            return Err(fail(ErrorCode::TooLarge, message));
        }
    }
    let group = |(key, members): (&str, Vec<usize>)| {
        let total = values
            .map(|(name, values)| total(name, members.iter().filter_map(|at| values.get(*at).and_then(Option::as_ref))))
            .transpose()?;
        Ok(Group { key: key.to_owned(), rows: members.len() as u64, total })
    };
    members.into_iter().map(group).collect()
}

fn describe(table: &Table, index: usize, name: &str) -> Column {
    let fields = || table.rows.iter().filter_map(|row| row.get(index)).filter(|field| !field.is_empty());
    let count = fields().count() as u64;
    let distinct = fields().collect::<BTreeSet<_>>().len() as u64;
    let empty = table.rows.len() as u64 - count;
    let numbers: Option<Vec<f64>> = fields().map(|field| number::parse(field)).collect();
    let numbers = numbers.filter(|numbers| !numbers.is_empty()).unwrap_or_default();
    let mut sum = Sum::default();
    numbers.iter().for_each(|number| sum.add(*number));
    let sum = if numbers.is_empty() { None } else { sum.value() };
    Column {
        name: name.to_owned(),
        count,
        empty,
        distinct,
        minimum: numbers.iter().copied().reduce(f64::min),
        maximum: numbers.iter().copied().reduce(f64::max),
        sum,
        mean: sum.map(|sum| sum / as_number(numbers.len())),
    }
}

/// A count as a number. Exact: there are far fewer rows than a number has bits for.
fn as_number(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::INFINITY, f64::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "who,amount,note\nb,0.1,x\na,0.2,\nb,,y\na,10,x\n";

    #[test]
    fn columns_are_described() {
        let summary = summarise(TEXT, None, None, None).unwrap();
        assert_eq!((summary.rows, summary.total, summary.groups.len()), (4, None, 0));
        let amount = &summary.columns[1];
        assert_eq!((amount.count, amount.empty, amount.distinct), (3, 1, 3));
        assert_eq!((amount.minimum, amount.maximum, amount.sum), (Some(0.1), Some(10.0), Some(10.3)));
        assert_eq!(amount.mean, Some(10.3 / 3.0));
        let who = &summary.columns[0];
        assert_eq!((who.distinct, who.sum, who.minimum), (2, None, None));
    }

    #[test]
    fn totals_and_groups() {
        let summary = summarise(TEXT, Some("amount"), Some("who"), None).unwrap();
        assert_eq!(summary.total, Some(10.3));
        let groups: Vec<_> = summary.groups.iter().map(|g| (g.key.as_str(), g.rows, g.total)).collect();
        assert_eq!(groups, [("a", 2, Some(10.2)), ("b", 2, Some(0.1))]);
        assert_eq!(summarise(TEXT, None, Some("note"), None).unwrap().groups[0].key, "");
    }

    #[test]
    fn failures_and_empty_tables() {
        assert_eq!(summarise(TEXT, Some("note"), None, None).unwrap_err().code, ErrorCode::NotANumber);
        assert_eq!(summarise(TEXT, None, Some("none"), None).unwrap_err().code, ErrorCode::UnknownColumn);
        let summary = summarise("a,b\n", Some("a"), Some("b"), None).unwrap();
        assert_eq!((summary.rows, summary.total, summary.columns[0].mean), (0, Some(0.0), None));
        assert_eq!(summarise("a\n1e308\n1e308\n", Some("a"), None, None).unwrap_err().code, ErrorCode::TooLarge);
        assert_eq!(summarise("a\n1e308\n1e308\n", None, None, None).unwrap().columns[0].sum, None);
    }
}
