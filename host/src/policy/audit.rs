//! `[audit]`: how much of what steps got and gave an audit may show, how long runs are kept, and how they are labelled.
//!
//! A level says what is shown, never what is recorded: a trace holds everything that a replay needs, whatever the policy says here.

use crate::id::{NAME_FORM, is_name};
use crate::limits;
use crate::policy::document::keys::AUDIT;
use crate::problem::{shown, suggestion};
use crate::toml_text::{self, Node, Reader};

/// How much of payloads is shown: of inputs, outputs, errors of tools, and what people were shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum AuditLevel {
    /// Nothing of them.
    None,
    /// Their kind, size and digest.
    Summary,
    /// Themselves.
    #[default]
    Full,
}

impl AuditLevel {
    /// Every spelling of the two founding systems, upper case being as good: three behaviours.
    pub const SPELLINGS: [(&'static str, Self); 6] = [
        ("minimal", Self::None),
        ("basic", Self::None),
        ("standard", Self::Summary),
        ("detailed", Self::Summary),
        ("full", Self::Full),
        ("forensic", Self::Full),
    ];

    /// What is shown, in a word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Summary => "summary",
            Self::Full => "full",
        }
    }

    /// The level of that spelling.
    #[must_use]
    pub fn from_spelling(text: &str) -> Option<Self> {
        Self::SPELLINGS.into_iter().find(|(name, _)| name.eq_ignore_ascii_case(text)).map(|(_, level)| level)
    }
}

/// `[audit]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditSettings {
    /// `level`: the most that is shown.
    pub level: AuditLevel,
    /// `retention_days`: for how many days a run is kept, and after which it is not wanted any more.
    pub retention_days: Option<u64>,
    /// `tags`: labels of every run under the policy.
    pub tags: Vec<String>,
}

impl AuditSettings {
    /// What a policy's text says of audits, whatever else is wrong with it: a run is looked at long after versions have changed. `None`
    /// where even that cannot be read; nothing in an empty text.
    #[must_use]
    pub fn of_text(text: &str) -> Option<Self> {
        let document = toml_text::parse(text).ok()?;
        let mut reader = Reader::new(text);
        let root = reader.whole(&document);
        let settings = root.get("audit").map(|node| read(&mut reader, &node)).unwrap_or_default();
        reader.finish().is_empty().then_some(settings)
    }
}

/// Reads `[audit]`.
pub(super) fn read<'t>(reader: &mut Reader<'t>, node: &Node<'_, 't>) -> AuditSettings {
    let Some(fields) = reader.shaped(node, &AUDIT) else { return AuditSettings::default() };
    let level = fields.get("level").and_then(|node| {
        let text = reader.string(&node)?;
        let lower = text.to_ascii_lowercase();
        let found = AuditLevel::from_spelling(text);
        if found.is_none() {
            let hint = suggestion(&lower, AuditLevel::SPELLINGS.map(|(name, _)| name))
                .unwrap_or_else(|| format!("write one of {}", AuditLevel::SPELLINGS.map(|(name, _)| name).join(", ")));
            let message = format!("`{}` is no level of an audit", shown(text));
            reader.report(&node.place, "unknown-value", message, Some(hint));
        }
        found
    });
    let retention_days = reader.ranged(&fields, &AUDIT, "retention_days");
    let tags = fields.get("tags").map(|node| read_tags(reader, &node)).unwrap_or_default();
    AuditSettings { level: level.unwrap_or_default(), retention_days, tags }
}

fn read_tags<'t>(reader: &mut Reader<'t>, node: &Node<'_, 't>) -> Vec<String> {
    let Some(items) = reader.array(node, "names") else { return Vec::new() };
    if items.len() > limits::TAGS_MAX {
        let message = format!("there are {} tags; at most {} are read", items.len(), limits::TAGS_MAX);
        reader.report(&node.place, "too-many-tags", message, None);
        return Vec::new();
    }
    let mut tags: Vec<String> = Vec::new();
    for item in &items {
        let Some(tag) = reader.string(item) else { continue };
        if !is_name(tag) {
            let message = format!("`{}` is no tag", shown(tag));
            reader.report(&item.place, "bad-name", message, Some(NAME_FORM.to_owned()));
        } else if tags.iter().any(|known| known == tag) {
            reader.report(&item.place, "duplicate", format!("the tag `{tag}` is there twice"), None);
        } else {
            tags.push(tag.to_owned());
        }
    }
    tags
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Policy;

    fn policy(lines: &str) -> Result<Policy, Vec<crate::problem::Problem>> {
        Policy::parse(&format!("schema = \"skillhost.policy/1\"\n{lines}\n"))
    }

    #[test]
    fn seven_spellings_are_three_levels() {
        for (text, level) in [
            ("BASIC", AuditLevel::None),
            ("DETAILED", AuditLevel::Summary),
            ("FORENSIC", AuditLevel::Full),
            ("MINIMAL", AuditLevel::None),
            ("STANDARD", AuditLevel::Summary),
            ("FULL", AuditLevel::Full),
            ("forensic", AuditLevel::Full),
        ] {
            assert_eq!(AuditLevel::from_spelling(text), Some(level), "{text}");
            assert_eq!(policy(&format!("[audit]\nlevel = \"{text}\"")).unwrap().audit.level, level, "{text}");
        }
        assert_eq!(policy("").unwrap().audit, AuditSettings::default());
        let problems = policy("[audit]\nlevel = \"detailled\"").unwrap_err();
        assert_eq!(
            (problems[0].code.as_str(), problems[0].hint.as_deref()),
            ("unknown-value", Some("did you mean `detailed`?"))
        );
        assert_eq!(policy("[audit]\nlevl = \"full\"").unwrap_err()[0].code, "unknown-key");
    }

    #[test]
    fn tags_and_retention_are_read_strictly() {
        let audit = policy("[audit]\nretention_days = 2555\ntags = [\"soc2\", \"pci\"]").unwrap().audit;
        assert_eq!((audit.retention_days, audit.tags), (Some(2_555), vec!["soc2".to_owned(), "pci".to_owned()]));
        let many: Vec<String> = (0..=limits::TAGS_MAX).map(|n| format!("\"t{n}\"")).collect();
        for (line, code) in [
            ("retention_days = 0".to_owned(), "out-of-range"),
            (format!("retention_days = {}", limits::RETENTION_DAYS_MAX + 1), "out-of-range"),
            ("tags = \"soc2\"".to_owned(), "wrong-type"),
            ("tags = [\"soc 2\"]".to_owned(), "bad-name"),
            ("tags = [\"a\", \"a\"]".to_owned(), "duplicate"),
            (format!("tags = [{}]", many.join(", ")), "too-many-tags"),
        ] {
            assert_eq!(policy(&format!("[audit]\n{line}")).unwrap_err()[0].code, code, "{line}");
        }
    }

    #[test]
    fn what_is_said_of_audits_is_read_of_a_policy_that_is_otherwise_wrong() {
        let of = |text: &str| AuditSettings::of_text(text).map(|settings| settings.level);
        assert_eq!(of("schema = \"skillhost.policy/9\"\nnew = 1\n[audit]\nlevel = \"basic\""), Some(AuditLevel::None));
        assert_eq!(of(""), Some(AuditLevel::Full));
        assert_eq!(of("[audit]\nlevel = \"other\""), None);
        assert_eq!(of("[audit"), None);
    }
}
