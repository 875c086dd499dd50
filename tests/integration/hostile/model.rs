//! The table of `docs/threat-model.md` is written from the cases.

use std::fmt::Write as _;

use host_tests::repo;

use super::case::Family;
use super::cases;

const DOCUMENT: &str = "docs/threat-model.md";
const BEGIN: &str = "<!-- hostile guests: begin -->\n";
const END: &str = "<!-- hostile guests: end -->";
/// Where it is set, the table is written instead of compared.
const WRITE: &str = "WRITE_THREAT_MODEL";

/// The cases of each family as a table.
fn table() -> String {
    let cases = cases();
    let mut text = format!("\n{} cases in {} families.\n", cases.len(), Family::ALL.len());
    for family in Family::ALL {
        let cases: Vec<_> = cases.iter().filter(|case| case.family == family).collect();
        writeln!(text, "\n### {} ({})\n", family.title(), cases.len()).expect("a string grows");
        text += "| case | the guest | how it ends | host memory | time |\n| --- | --- | --- | --- | --- |\n";
        for case in cases {
            let words = case.expect.words().replace('|', "\\|");
            let row = format!(
                "| {} | {} | {} | {} MiB | {} s |",
                case.name,
                case.what,
                shown(&words),
                case.growth_mib,
                case.seconds
            );
            writeln!(text, "{row}").expect("a string grows");
        }
    }
    text.push('\n');
    text
}

/// Control characters as their code points.
fn shown(text: &str) -> String {
    let show = |c: char| if c.is_control() { c.escape_unicode().to_string() } else { c.to_string() };
    text.chars().map(show).collect()
}

#[test]
fn the_threat_model_lists_every_case() {
    let text = repo::text(DOCUMENT);
    let (before, rest) = text.split_once(BEGIN).expect("the document has the first marker");
    let (listed, after) = rest.split_once(END).expect("the document has the second marker");
    let table = table();
    if std::env::var_os(WRITE).is_some() {
        std::fs::write(repo::root().join(DOCUMENT), format!("{before}{BEGIN}{table}{END}{after}")).expect("written");
        return;
    }
    assert!(
        listed == table,
        "{DOCUMENT} is not what the suite does: run `{WRITE}=1 cargo test --workspace --test integration threat_model`"
    );
}
