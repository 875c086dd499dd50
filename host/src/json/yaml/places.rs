//! Where the values of a document stand, looked up for the few that a report names.

use std::collections::BTreeMap;

use granit_parser::{Event, Parser, StrInput};

use super::{options, position};
use crate::problem::{Position, Problem};

/// A value that is looked for, or one that holds such.
#[derive(Default)]
struct Wanted {
    found: Option<Position>,
    inside: BTreeMap<String, Self>,
}

/// See [`crate::json::locate`]. JSON is read as the YAML that it is.
pub(in crate::json) fn locate(text: &str, problems: &mut [Problem]) {
    let mut root = Wanted::default();
    for problem in problems.iter().filter(|problem| problem.position.is_none()) {
        parts(&problem.pointer).fold(&mut root, |wanted, part| wanted.inside.entry(part).or_default());
    }
    let mut parser = Parser::new_from_str_with_options(text, options());
    while let Some(Ok((event, span))) = parser.next() {
        match event {
            Event::StreamStart | Event::DocumentStart(..) => {}
            Event::StreamEnd => break,
            event => {
                root.found = Some(position(&span));
                // What was found before a mistake is as good as all of it.
                let _whole = walk(&mut parser, &event, Some(&mut root));
                break;
            }
        }
    }
    for problem in problems.iter_mut().filter(|problem| problem.position.is_none() && !problem.pointer.is_empty()) {
        let mut wanted = Some(&root);
        for part in parts(&problem.pointer) {
            wanted = wanted.and_then(|wanted| wanted.inside.get(&part));
            if let Some(position) = wanted.and_then(|wanted| wanted.found) {
                problem.position = Some(position);
            }
        }
        problem.position = problem.position.or(root.found);
    }
}

/// Reads the value that `event` begins. Its depth is bounded by the parser's options.
fn walk<'t>(parser: &mut Parser<'t, StrInput<'t>>, event: &Event<'_>, mut wanted: Option<&mut Wanted>) -> Option<()> {
    match event {
        Event::SequenceStart(..) => {
            let mut index = 0_usize;
            loop {
                let (event, span) = parser.next()?.ok()?;
                if event == Event::SequenceEnd {
                    return Some(());
                }
                let inside = wanted.as_deref_mut().and_then(|wanted| wanted.inside.get_mut(&index.to_string()));
                walk(parser, &event, found(inside, position(&span)))?;
                index = index.checked_add(1)?;
            }
        }
        Event::MappingStart(..) => loop {
            let (event, span) = parser.next()?.ok()?;
            if event == Event::MappingEnd {
                return Some(());
            }
            let Event::Scalar(key, ..) = &event else { return None };
            // Where the key stands: what is wrong is often the key itself.
            let inside = wanted.as_deref_mut().and_then(|wanted| wanted.inside.get_mut(key.as_ref()));
            let inside = found(inside, position(&span));
            let (event, _) = parser.next()?.ok()?;
            walk(parser, &event, inside)?;
        },
        _ => Some(()),
    }
}

fn found(wanted: Option<&mut Wanted>, at: Position) -> Option<&mut Wanted> {
    let wanted = wanted?;
    wanted.found = Some(at);
    Some(wanted)
}

/// The parts of a JSON pointer.
fn parts(pointer: &str) -> impl Iterator<Item = String> + '_ {
    pointer.split('/').skip(1).map(|part| part.replace("~1", "/").replace("~0", "~"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_found_by_their_pointers() {
        let yaml = "name: x\nsteps:\n  - id: a\n    input: {path: /a, \"b/c\": [1, 2]}\n  - id: b\n";
        let json = "{\"name\": \"x\",\n \"steps\": [\n  {\"id\": \"a\",\n    \"input\": {\"path\": \"/a\", \"b/c\": [1, 2]}},\n  {\"id\": \"b\"}]}";
        let at = |text: &str, pointer: &str| {
            let mut problems = vec![Problem::new("x", pointer, "y"), Problem::new("x", "/none", "y")];
            locate(text, &mut problems);
            problems[0].position.map(|position| (position.line, position.column))
        };
        assert_eq!(at(yaml, "/name"), Some((1, 1)));
        assert_eq!(at(yaml, "/steps/0/input/path"), Some((4, 13)));
        assert_eq!(at(yaml, "/steps/0/input/b~1c/1"), Some((4, 34)));
        assert_eq!(at(yaml, "/steps/1/id"), Some((5, 5)));
        // What is not there is where it would be.
        assert_eq!(at(yaml, "/steps/1/tool"), Some((5, 5)));
        assert_eq!(at(yaml, "/version"), Some((1, 1)));
        assert_eq!(at(json, "/steps/0/input/b~1c"), Some((4, 29)));
        assert_eq!(at(json, "/steps/1"), Some((5, 3)));
        assert_eq!(at(yaml, ""), None);
        assert_eq!(at("a: [1", "/a/0"), Some((1, 1)));
        assert_eq!(at("", "/a"), None);
    }
}
