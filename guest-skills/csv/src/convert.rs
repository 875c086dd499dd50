//! Tables from and to JSON.

use std::collections::BTreeSet;

use serde_json::{Map, Number, Value};

use crate::bindings::{Error, ErrorCode};
use crate::error::{check_output, fail};
use crate::limits::{MAX_FIELDS, MAX_TEXT_BYTES};
use crate::table::{check_header, parse, write};

/// The rows as a JSON array of objects, members in the order of the columns.
pub(crate) fn to_json(text: &str, delimiter: Option<char>, typed: bool) -> Result<String, Error> {
    let table = parse(text, delimiter, false)?;
    let mut output = String::from("[");
    for (at, row) in table.rows.into_iter().enumerate() {
        if at > 0 {
            output.push(',');
        }
        let member =
            |(name, field): (&String, String)| (name.clone(), if typed { value(field) } else { Value::String(field) });
        let object: Map<String, Value> = table.header.iter().zip(row).map(member).collect();
        output.push_str(&Value::Object(object).to_string());
        check_output(output.len())?;
    }
    output.push(']');
    Ok(output)
}

/// The value that a field stands for. Only what JSON would write in the same way is a number, so nothing is lost.
fn value(field: String) -> Value {
    match field.as_str() {
        "" => Value::Null,
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        text => match serde_json::from_str::<Number>(text) {
            Ok(number) if number.to_string() == field => Value::Number(number),
            _ => Value::String(field),
        },
    }
}

/// The CSV text of a JSON array of flat objects.
pub(crate) fn from_json(text: &str, columns: Option<Vec<String>>, delimiter: Option<char>) -> Result<String, Error> {
    if text.len() > MAX_TEXT_BYTES {
        let message = format!("the text has more than {MAX_TEXT_BYTES} bytes: give it in parts");
        return Err(fail(ErrorCode::TooLarge, message));
    }
    let objects: Vec<Map<String, Value>> = serde_json::from_str(text)
        .map_err(|error| fail(ErrorCode::InvalidJson, format!("the text is not a JSON array of objects: {error}")))?;
    let header = check_header(columns.unwrap_or_else(|| names(&objects)))?;
    if header.is_empty() {
        let message = "there are no columns: give objects with members, or name the columns";
        return Err(fail(ErrorCode::InvalidHeader, message));
    }
    if objects.len().saturating_mul(header.len()) > MAX_FIELDS {
        let message = format!("the table would have more than {MAX_FIELDS} fields: convert it in parts");
        return Err(fail(ErrorCode::TooLarge, message));
    }
    let mut rows = Vec::with_capacity(objects.len());
    for (at, object) in objects.iter().enumerate() {
        let fields: Result<Vec<String>, Error> = header.iter().map(|name| field(object, name, at)).collect();
        rows.push(fields?);
    }
    write(&header, rows.iter().map(|row| row.iter().map(String::as_str)), delimiter)
}

fn names(objects: &[Map<String, Value>]) -> Vec<String> {
    let mut seen = BTreeSet::new();
    objects.iter().flat_map(Map::keys).filter(|name| seen.insert(name.as_str())).cloned().collect()
}

fn field(object: &Map<String, Value>, name: &str, at: usize) -> Result<String, Error> {
    match object.get(name) {
        None | Some(Value::Null) => Ok(String::new()),
        Some(Value::String(text)) => Ok(text.clone()),
        Some(value @ (Value::Bool(_) | Value::Number(_))) => Ok(value.to_string()),
        Some(Value::Array(_) | Value::Object(_)) => {
            let message =
                format!("element {at} has an array or object in {name:?}: flatten it first, or leave the column out");
            Err(fail(ErrorCode::InvalidJson, message))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_stay_strings_unless_typed() {
        let text = "z,a\n1,007\n1.5,true\n,x\n-0,1e5\n";
        let plain = r#"[{"z":"1","a":"007"},{"z":"1.5","a":"true"},{"z":"","a":"x"},{"z":"-0","a":"1e5"}]"#;
        assert_eq!(to_json(text, None, false).unwrap(), plain);
        let typed = to_json(text, None, true).unwrap();
        assert!(typed.starts_with(r#"[{"z":1,"a":"007"},{"z":1.5,"a":true},{"z":null,"a":"x"},"#), "{typed}");
        assert_eq!(to_json("a\n", None, false).unwrap(), "[]");
        assert_eq!(
            to_json("a\n12345678901234567890123\n", None, true).unwrap(),
            r#"[{"a":"12345678901234567890123"}]"#
        );
    }

    #[test]
    fn objects_become_rows() {
        let text = r#"[{"b":1,"a":"x, y"},{"a":null,"c":true},{}]"#;
        assert_eq!(from_json(text, None, None).unwrap(), "b,a,c\n1,\"x, y\",\n,,true\n,,\n");
        assert_eq!(
            from_json(text, Some(vec!["c".to_owned(), "b".to_owned()]), Some(';')).unwrap(),
            "c;b\n;1\ntrue;\n;\n"
        );
    }

    #[test]
    fn what_is_no_table() {
        for text in ["", "{}", "[1]", "[[1]]", r#"[{"a":[1]}]"#] {
            assert_eq!(from_json(text, None, None).unwrap_err().code, ErrorCode::InvalidJson, "{text}");
        }
        assert_eq!(from_json("[]", None, None).unwrap_err().code, ErrorCode::InvalidHeader);
        let twice = Some(vec!["a".to_owned(), "a".to_owned()]);
        assert_eq!(from_json("[]", twice, None).unwrap_err().code, ErrorCode::InvalidHeader);
        let text = format!("{}\n{}", "n".repeat(5000), "1\n".repeat(4000));
        assert_eq!(to_json(&text, None, false).unwrap_err().code, ErrorCode::TooLarge);
    }
}
