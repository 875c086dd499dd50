//! The example skill `words` in Rust. Everything that a skill needs is `wit/words.wit` and the implementation of its functions.

use std::collections::BTreeMap;

mod bindings {
    wit_bindgen::generate!({ world: "skill", path: "wit" });
    export!(Words with_types_in self);

    use super::Words;
}

use bindings::exports::example::words::words::{Count, Failure, Guest, Summary};

struct Words;

impl Guest for Words {
    fn count_words(text: String, top: Option<u32>) -> Result<Summary, Failure> {
        let mut times = BTreeMap::new();
        let mut words = 0;
        for word in split(&text) {
            *times.entry(word).or_insert(0_u32) += 1;
            words += 1;
        }
        // Sorted by word already, and a stable sort keeps that among equals. The bytes of UTF-8 have the order of the code points.
        let mut top_words: Vec<Count> = times.into_iter().map(|(word, times)| Count { word, times }).collect();
        top_words.sort_by_key(|count| std::cmp::Reverse(count.times));
        let favourite = match top_words.as_slice() {
            [] => return Err(Failure::Empty),
            [first, second, ..] if first.times == second.times => None,
            [first, ..] => Some(first.word.clone()),
        };
        top_words.truncate(top.unwrap_or(3) as usize);
        Ok(Summary { words, lines: text.lines().count() as u32, favourite, top: top_words })
    }

    fn slug(title: String, max_length: Option<u32>) -> Result<String, Failure> {
        let max_length = max_length.unwrap_or(40);
        let mut slug = String::new();
        let mut length = 0;
        for word in split(&title) {
            let more = word.chars().count() as u32;
            if slug.is_empty() {
                if more > max_length {
                    return Err(Failure::TooLong(more));
                }
            } else {
                if length + 1 + more > max_length {
                    break;
                }
                slug.push('-');
                length += 1;
            }
            slug.push_str(&word);
            length += more;
        }
        if slug.is_empty() { Err(Failure::Empty) } else { Ok(slug) }
    }
}

/// The words of a text, in lower case.
fn split(text: &str) -> impl Iterator<Item = String> {
    let separates = |c: char| c.is_ascii() && !c.is_ascii_alphanumeric();
    text.split(separates).filter(|word| !word.is_empty()).map(str::to_ascii_lowercase)
}
