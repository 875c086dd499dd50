//! An audit as a document: JSON lines, CSV, or one HTML page that needs nothing else. Pure. Texts of plans and tools are in it, so nothing is
//! written that a reader of the format would act upon.

use std::borrow::Cow;

use serde_json::{Value, json};

use crate::report::human::{Append as _, counted};
use crate::store::audit::{Audit, AuditEntry, AuditedRun};
use crate::{canonical, harmless};

/// The columns of CSV and HTML.
const COLUMNS: [&str; 18] = [
    "run",
    "seq",
    "at",
    "principal",
    "plan",
    "tags",
    "action",
    "step",
    "tool",
    "status",
    "reason",
    "calls",
    "fuel",
    "duration_us",
    "changed",
    "undone_by",
    "hash",
    "event",
];
/// With these a spreadsheet begins a formula.
const FORMULA: [char; 8] = ['=', '+', '-', '@', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}'];

const STYLE: &str = "body{font:14px/1.4 system-ui,sans-serif;margin:2em;color:#222}table{border-collapse:collapse;width:100%;\
margin:1em 0}th,td{text-align:left;vertical-align:top;padding:.3em .6em;border-bottom:1px solid #ddd}th{position:sticky;top:0;\
background:#f4f4f4}td.code,code{font:12px/1.4 ui-monospace,monospace;word-break:break-all}.completed,.approved,.whole\
{color:#176b2c}.failed,.trapped,.denied,.refused,.rejected,.damaged,.limit-exceeded{color:#a11;font-weight:600}\
summary{cursor:pointer;color:#555}pre{white-space:pre-wrap;word-break:break-all;margin:.3em 0}";

/// An entry as JSON.
#[must_use]
pub fn entry(entry: &AuditEntry) -> Value {
    let event = entry.json.as_deref().and_then(|json| serde_json::from_str::<Value>(json).ok());
    json!({
        "run": entry.run,
        "seq": entry.seq,
        "at": entry.at,
        "principal": entry.principal,
        "plan": entry.plan,
        "tags": entry.tags,
        "action": entry.action,
        "step": entry.step,
        "tool": entry.tool,
        "status": entry.status,
        "reason": entry.reason,
        "calls": entry.calls,
        "fuel": entry.fuel,
        "duration_us": entry.duration_us,
        "changed": entry.changed,
        "undone_by": entry.undone_by,
        "hash": entry.hash,
        "event": event,
    })
}

/// A run that was looked at, as JSON.
#[must_use]
pub fn run(run: &AuditedRun) -> Value {
    json!({
        "run": run.run,
        "events": run.events,
        "head": run.head,
        "ended": run.ended,
        "damage": run.damage,
        "level": run.level.name(),
    })
}

/// One canonical line for each entry.
#[must_use]
pub fn jsonl(audit: &Audit) -> String {
    let mut bytes = Vec::new();
    for one in &audit.entries {
        canonical::write_value(&mut bytes, &entry(one));
        bytes.push(b'\n');
    }
    String::from_utf8(bytes).unwrap_or_default()
}

/// RFC 4180, with a heading and one line for each entry: what is hidden in a cell, such as a line break, is escaped. A cell that a
/// spreadsheet would take for a formula begins with an apostrophe.
#[must_use]
pub fn csv(audit: &Audit) -> String {
    let mut out = COLUMNS.join(",");
    out.push_str("\r\n");
    for entry in &audit.entries {
        let cells: Vec<String> = cells(entry).into_iter().map(|cell| csv_cell(&cell)).collect();
        out.push_str(&cells.join(","));
        out.push_str("\r\n");
    }
    out
}

fn csv_cell(text: &str) -> String {
    let text = harmless::line(text);
    let text = if text.trim_start().starts_with(FORMULA) { Cow::Owned(format!("'{text}")) } else { text };
    if text.contains([',', '"', ';']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.into_owned() }
}

fn cells(entry: &AuditEntry) -> [String; COLUMNS.len()] {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let number = |number: Option<u64>| number.map(|number| number.to_string()).unwrap_or_default();
    [
        entry.run.clone(),
        entry.seq.to_string(),
        text(&entry.at),
        entry.principal.clone(),
        entry.plan.clone(),
        entry.tags.join(" "),
        entry.action.to_owned(),
        text(&entry.step),
        text(&entry.tool),
        entry.status.unwrap_or_default().to_owned(),
        text(&entry.reason),
        number(entry.calls),
        number(entry.fuel),
        number(entry.duration_us),
        number(entry.changed),
        text(&entry.undone_by),
        entry.hash.clone(),
        entry.json.as_deref().map(|json| harmless::json(json).into_owned()).unwrap_or_default(),
    ]
}

/// One page: the runs with what their chains are worth, then the entries. No script, nothing from elsewhere.
#[must_use]
pub fn html(audit: &Audit) -> String {
    let mut out = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n<meta http-equiv=\"Content-Security-Policy\" \
         content=\"default-src 'none'; style-src 'unsafe-inline'\">\n<title>Audit trail</title>\n<style>{STYLE}</style></head>\n\
         <body><h1>Audit trail</h1>\n"
    );
    let count = |number: usize, what| counted(u64::try_from(number).unwrap_or(u64::MAX), what);
    let more = if audit.more { "; older entries are left out" } else { "" };
    out.add(format_args!(
        "<p>{} of {}{more}.</p>\n",
        count(audit.entries.len(), "event"),
        count(audit.runs.len(), "run")
    ));
    if let Some(reason) = &audit.without_index {
        out.add(format_args!("<p class=\"damaged\">Times are missing: {}</p>\n", escaped(reason)));
    }
    out.push_str("<table><thead><tr><th>run</th><th>trace</th><th>events</th><th>last hash</th></tr></thead><tbody>\n");
    for run in &audit.runs {
        let (class, state) = match (&run.damage, run.ended) {
            (Some(damage), _) => ("damaged", format!("damaged: {damage}")),
            (None, true) => ("whole", "whole".to_owned()),
            (None, false) => ("", "not ended".to_owned()),
        };
        out.add(format_args!(
            "<tr><td>{}</td><td class=\"{class}\">{}</td><td>{}</td><td class=\"code\">{}</td></tr>\n",
            escaped(&run.run),
            escaped(&state),
            run.events,
            escaped(&run.head)
        ));
    }
    out.push_str("</tbody></table>\n<table><thead><tr>");
    let (shown, [hash, _]) = COLUMNS.split_at(COLUMNS.len() - 2) else { return out };
    for column in shown {
        out.add(format_args!("<th>{column}</th>"));
    }
    out.push_str("</tr></thead><tbody>\n");
    for entry in &audit.entries {
        out.push_str("<tr>");
        let class = entry.status.unwrap_or_default();
        for (column, cell) in COLUMNS.iter().zip(cells(entry)).take(shown.len()) {
            match *column {
                "status" => out.add(format_args!("<td class=\"{}\">{}</td>", escaped(class), escaped(&cell))),
                "action" => out.add(format_args!(
                    "<td><details><summary>{}</summary><pre>{hash} {}\n{}</pre></details></td>",
                    escaped(&cell),
                    escaped(&entry.hash),
                    escaped(&entry.json.as_deref().map_or("the event is in the trace alone".into(), harmless::json))
                )),
                _ => out.add(format_args!("<td>{}</td>", escaped(&cell))),
            }
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody></table></body></html>\n");
    out
}

/// Text as HTML shows it, in elements and in quoted attributes.
fn escaped(text: &str) -> String {
    // Browsers draw nothing for what is hidden, or turn the text around.
    let text = harmless::line(text);
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::AuditLevel;

    fn audit() -> Audit {
        let entry = AuditEntry {
            run: "r".to_owned(),
            seq: 3,
            at: Some("2026-01-31T12:00:00.000000Z".to_owned()),
            principal: "user:ann".to_owned(),
            plan: "=cmd|' /C calc'!A0".to_owned(),
            action: "step-end",
            step: Some("one".to_owned()),
            tool: None,
            status: Some("failed"),
            reason: Some("<script>alert(\"1\")</script>\u{202e}, \"x\"\nand".to_owned()),
            calls: Some(2),
            fuel: None,
            duration_us: Some(9),
            changed: None,
            undone_by: None,
            hash: "ab".to_owned(),
            tags: vec!["soc2".to_owned(), "pci".to_owned()],
            json: Some("{\"kind\":\"step-end\"}".to_owned()),
        };
        let run = AuditedRun {
            run: "r".into(),
            events: 4,
            head: "ab".into(),
            ended: false,
            damage: Some("<b>".into()),
            level: AuditLevel::Full,
        };
        Audit { entries: vec![entry], runs: vec![run], more: true, without_index: None }
    }

    #[test]
    fn a_page_holds_no_markup_of_its_texts_and_nothing_from_elsewhere() {
        let page = html(&audit());
        assert!(!page.contains("<script") && !page.contains("<b>") && !page.contains('\u{202e}'), "{page}");
        assert!(page.contains("&lt;script&gt;alert(&quot;1&quot;)") && page.contains("damaged: &lt;b&gt;"));
        assert!(page.contains("default-src 'none'") && !page.contains("http://") && !page.contains("src="));
        for tag in ["table", "tr", "td", "th", "details", "pre"] {
            let count = |text: &str| page.matches(text).count();
            assert_eq!(count(&format!("<{tag}>")) + count(&format!("<{tag} ")), count(&format!("</{tag}>")), "{tag}");
        }
    }

    #[test]
    fn cells_are_quoted_and_are_no_formulas() {
        let text = csv(&audit());
        let (heading, row) = text.split_once("\r\n").unwrap();
        assert_eq!(heading.split(',').count(), COLUMNS.len());
        assert!(row.starts_with("r,3,2026-01-31T12:00:00.000000Z,user:ann,'=cmd|"), "{row}");
        assert!(row.contains("\"<script>alert(\"\"1\"\")</script>"), "{row}");
        assert!(row.ends_with(",\"{\"\"kind\"\":\"\"step-end\"\"}\"\r\n"), "{row}");
        assert_eq!(csv_cell("-1+2"), "'-1+2");
    }

    #[test]
    fn a_line_is_canonical_json_with_the_columns() {
        let text = jsonl(&audit());
        let value: Value = serde_json::from_str(text.trim_end()).unwrap();
        assert_eq!(canonical::to_string(&value), text.trim_end());
        assert!(COLUMNS.iter().all(|column| value.get(column).is_some()));
        assert_eq!(value["event"]["kind"], "step-end");
        assert_eq!(run(&audit().runs[0])["damage"], "<b>");
    }

    proptest::proptest! {
        #[test]
        fn whatever_an_entry_holds_it_is_one_row(foreign in crate::harmless::tests::hostile()) {
            let mut given = audit();
            let entry = &mut given.entries[0];
            (entry.run, entry.principal, entry.plan) = (foreign.clone(), foreign.clone(), foreign.clone());
            (entry.step, entry.tool, entry.reason) = (Some(foreign.clone()), Some(foreign.clone()), Some(foreign.clone()));
            entry.json = Some(serde_json::json!({ "a": foreign }).to_string());
            entry.tags = vec![foreign.clone()];
            given.runs[0].damage = Some(foreign.clone());
            let text = csv(&given);
            let rows = text.strip_suffix("\r\n").unwrap().split("\r\n");
            proptest::prop_assert_eq!(rows.clone().count(), 2);
            proptest::prop_assert!(!rows.flat_map(str::chars).any(harmless::is_hidden), "{}", text);
            let cell = csv_cell(&foreign);
            // What a program that reads the row has in the cell.
            let quoted = cell.strip_prefix('"').and_then(|cell| cell.strip_suffix('"'));
            let content = quoted.map_or_else(|| cell.to_string(), |quoted| quoted.replace("\"\"", "\""));
            let begins = content.trim_start().chars().next();
            proptest::prop_assert!(!begins.is_some_and(|c| FORMULA.contains(&c)), "{}", cell);
            let page = html(&given);
            proptest::prop_assert!(!page.chars().any(|c| harmless::is_hidden(c) && c != '\n'));
            proptest::prop_assert_eq!(page.lines().count(), html(&audit()).lines().count());
            proptest::prop_assert_eq!(page.matches("</td>").count(), html(&audit()).matches("</td>").count());
        }
    }
}
