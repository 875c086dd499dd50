//! The scrubber against one that sees the whole text at once.

use proptest::prelude::*;

use super::*;

/// Marks every occurrence of every needle in the whole text.
fn naive(needles: &[Vec<u8>], text: &[u8]) -> Vec<u8> {
    let mut result = text.to_vec();
    for needle in needles {
        for (at, window) in text.windows(needle.len()).enumerate() {
            if window == needle {
                result[at..at + needle.len()].fill(b'*');
            }
        }
    }
    result
}

fn streamed(needles: &[Vec<u8>], chunks: &[Vec<u8>]) -> Vec<u8> {
    let mut scrubber = Scrubber::new(Needles::from_list(needles.to_vec()));
    let mut result: Vec<u8> = chunks.iter().flat_map(|chunk| scrubber.push(chunk)).collect();
    result.extend(scrubber.finish());
    assert!(!scrubber.holds_back());
    result
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2048))]

    #[test]
    fn chunks_make_no_difference(
        needles in proptest::collection::vec(proptest::collection::vec(b'a'..=b'c', 1..6), 1..4),
        chunks in proptest::collection::vec(proptest::collection::vec(b'a'..=b'd', 0..8), 0..12),
    ) {
        prop_assert_eq!(streamed(&needles, &chunks), naive(&needles, &chunks.concat()));
    }

    #[test]
    fn a_secret_is_found_in_every_form_and_at_every_place(
        secret in "[!-~]{8,40}",
        before in proptest::collection::vec(any::<u8>(), 0..9),
        after in proptest::collection::vec(any::<u8>(), 0..9),
    ) {
        let needles = Needles::of(&[SecretValue::of(&secret)]);
        let around = [before.as_slice(), secret.as_bytes(), after.as_slice()].concat();
        for text in [STANDARD_NO_PAD.encode(&around), URL_SAFE_NO_PAD.encode(&around)] {
            let scrubbed = needles.scrub(text.as_bytes());
            prop_assert_eq!(scrubbed.len(), text.len());
            // Every character that holds bits of the secret alone.
            let from = (before.len() * 8).div_ceil(6);
            let to = (before.len() + secret.len()) * 8 / 6;
            prop_assert!(scrubbed[from..to].iter().all(|byte| *byte == b'*'), "{} {}", from, to);
        }
        let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
        let percent: String = secret.bytes().map(|byte| if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect();
        let quoted = serde_json::to_string(&secret).unwrap();
        let quoted = &quoted[1..quoted.len() - 1];
        for text in [secret.clone(), hex.clone(), hex.to_uppercase(), percent, quoted.to_owned(), quoted.replace('/', "\\/")] {
            let scrubbed = needles.scrub(text.as_bytes());
            prop_assert_eq!(String::from_utf8_lossy(&scrubbed), "*".repeat(text.len()));
        }
    }
}

#[test]
fn nothing_is_held_back_that_cannot_be_a_secret() {
    let mut scrubber = Scrubber::new(Needles::of(&[SecretValue::of("hunter2!")]));
    assert_eq!(scrubber.push(b"data: 1\n\n"), b"data: 1\n\n");
    assert_eq!(scrubber.push(b"x hun"), b"x ");
    assert!(scrubber.holds_back());
    assert_eq!(scrubber.push(b"ter2"), b"");
    assert_eq!(scrubber.push(b"! y"), b"******** y");
    assert_eq!(scrubber.push(b"hunter"), b"");
    assert_eq!(scrubber.finish(), b"hunter");
}

#[test]
fn headers_are_scrubbed_and_names_that_tell_are_taken_out() {
    let needles = Needles::of(&[SecretValue::of("Hunter2-abc")]);
    let mut headers = HeaderMap::new();
    for (name, value) in
        [("x-echo", "a Hunter2-abc b"), ("x-hunter2-abc", "1"), ("x-other", "hunter"), ("x-echo", "Hunter2-abc")]
    {
        headers.append(http::HeaderName::try_from(name).unwrap(), HeaderValue::from_static(value));
    }
    needles.scrub_headers(&mut headers);
    let values: Vec<_> = headers.get_all("x-echo").iter().collect();
    assert_eq!(values, ["a *********** b", "***********"]);
    assert_eq!(headers["x-other"], "hunter");
    assert_eq!(headers.len(), 3);
}
