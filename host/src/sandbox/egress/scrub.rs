//! Takes secrets out of what comes back: each occurrence becomes stars of the same length, across the borders of chunks.

use std::collections::BTreeSet;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use http::{HeaderMap, HeaderValue};

use crate::sandbox::egress::secrets::SecretValue;

/// The forms of secrets that are looked for, sorted, with those of each first byte at hand: most bytes begin none.
pub(super) struct Needles {
    list: Vec<Vec<u8>>,
    /// Where in the list those with this first byte begin and end.
    starts: Vec<(usize, usize)>,
}

impl Drop for Needles {
    fn drop(&mut self) {
        self.list.iter_mut().for_each(|needle| needle.fill(0));
        std::hint::black_box(&self.list);
    }
}

impl Needles {
    /// The values as they are and in the forms in which servers commonly write what they were sent.
    pub(super) fn of<'v>(values: impl IntoIterator<Item = &'v SecretValue>) -> Self {
        Self::from_list(values.into_iter().flat_map(|value| forms(value.bytes())).collect())
    }

    fn from_list(list: BTreeSet<Vec<u8>>) -> Self {
        let list: Vec<Vec<u8>> = list.into_iter().collect();
        let below =
            |byte: usize| list.partition_point(|needle| needle.first().map_or(0, |first| usize::from(*first)) < byte);
        let starts = (0..=usize::from(u8::MAX)).map(|byte| (below(byte), below(byte + 1))).collect();
        Self { list, starts }
    }

    /// Whether there is nothing to look for.
    pub(super) const fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Those that begin with the byte.
    fn starting_with(&self, first: u8) -> &[Vec<u8>] {
        let range = self.starts.get(usize::from(first)).copied().unwrap_or_default();
        self.list.get(range.0..range.1).unwrap_or_default()
    }

    /// The length of the longest needle that stands at the beginning of `text`, zero where none does, and whether one might if more came.
    fn at(&self, text: &[u8]) -> (usize, bool) {
        let (mut found, mut may_come) = (0, false);
        for needle in text.first().map(|first| self.starting_with(*first)).unwrap_or_default() {
            if text.starts_with(needle) {
                found = found.max(needle.len());
            } else if needle.starts_with(text) {
                may_come = true;
            }
        }
        (found, may_come)
    }

    /// Stars in place of every occurrence in a text that is complete.
    pub(super) fn scrub(self: &Arc<Self>, text: &[u8]) -> Vec<u8> {
        let mut scrubber = Scrubber::new(Arc::clone(self));
        let mut scrubbed = scrubber.push(text);
        scrubbed.extend(scrubber.finish());
        scrubbed
    }

    /// The same in the values of headers. One whose name holds a secret is taken out: names are in lower case.
    pub(super) fn scrub_headers(self: &Arc<Self>, headers: &mut HeaderMap) {
        let lower = Arc::new(Self::from_list(self.list.iter().map(|needle| needle.to_ascii_lowercase()).collect()));
        let told: Vec<_> = headers
            .keys()
            .filter(|name| lower.scrub(name.as_str().as_bytes()) != name.as_str().as_bytes())
            .cloned()
            .collect();
        for name in told {
            headers.remove(name);
        }
        for value in headers.values_mut() {
            let scrubbed = self.scrub(value.as_bytes());
            if scrubbed != value.as_bytes() {
                // Stars may stand in any header.
                *value = HeaderValue::from_bytes(&scrubbed).unwrap_or_else(|_| HeaderValue::from_static("*"));
            }
        }
    }
}

/// The secret itself, percent-encoded, in JSON, in hexadecimal, and in base64 at each of the three places where its bytes may begin.
fn forms(secret: &[u8]) -> Vec<Vec<u8>> {
    let mut forms = vec![secret.to_vec()];
    for digits in [b"0123456789ABCDEF", b"0123456789abcdef"] {
        let mut percent = Vec::with_capacity(secret.len() * 3);
        let mut hex = Vec::with_capacity(secret.len() * 2);
        for byte in secret {
            let pair = [byte >> 4, byte & 15].map(|nibble| digits.get(usize::from(nibble)).copied().unwrap_or(b'0'));
            if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
                percent.push(*byte);
            } else {
                percent.push(b'%');
                percent.extend(pair);
            }
            hex.extend(pair);
        }
        forms.extend([percent, hex]);
    }
    if let Ok(text) = std::str::from_utf8(secret)
        && let Ok(quoted) = serde_json::to_string(text)
    {
        let inner = quoted.trim_start_matches('"').strip_suffix('"').unwrap_or_default();
        forms.extend([inner.as_bytes().to_vec(), inner.replace('/', "\\/").into_bytes()]);
    }
    for engine in [STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
        for before in 0..3_usize {
            let mut bytes = vec![0; before];
            bytes.extend_from_slice(secret);
            let text = engine.encode(&bytes);
            // Characters that also hold bits of what stands before or after would differ from case to case.
            let first = (before * 8).div_ceil(6);
            let whole = bytes.len() * 8 / 6;
            forms.extend(text.as_bytes().get(first..whole).map(<[u8]>::to_vec));
            bytes.fill(0);
        }
    }
    // The core of a short secret in base64 is too short to be told from other text.
    forms.retain(|form| form.len() >= crate::limits::SECRET_BYTES_MIN);
    forms
}

/// Takes secrets out of a stream. Holds back only what may be the beginning of one.
pub(super) struct Scrubber {
    needles: Arc<Needles>,
    held: Vec<u8>,
    /// How many of the held bytes belong to an occurrence that began before them.
    covered: usize,
}

impl Scrubber {
    pub(super) const fn new(needles: Arc<Needles>) -> Self {
        Self { needles, held: Vec::new(), covered: 0 }
    }

    pub(super) const fn needles(&self) -> &Arc<Needles> {
        &self.needles
    }

    /// Whether some bytes are held back.
    pub(super) const fn holds_back(&self) -> bool {
        !self.held.is_empty()
    }

    /// The next bytes; what can be said of them and of those held back.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.held.extend_from_slice(bytes);
        let mut rest = self.held.as_slice();
        let mut known = Vec::with_capacity(rest.len());
        let mut covered = self.covered;
        while let Some((first, after)) = rest.split_first() {
            let (found, may_come) = self.needles.at(rest);
            if may_come {
                break;
            }
            covered = covered.max(found);
            known.push(if covered > 0 { b'*' } else { *first });
            covered = covered.saturating_sub(1);
            rest = after;
        }
        let held = rest.to_vec();
        self.held.fill(0);
        self.held = held;
        self.covered = covered;
        known
    }

    /// The bytes that were held back: no more come.
    pub(super) fn finish(&mut self) -> Vec<u8> {
        let mut held = std::mem::take(&mut self.held);
        let mut covered = std::mem::take(&mut self.covered);
        let mut known = Vec::with_capacity(held.len());
        let mut rest = held.as_slice();
        while let Some((first, after)) = rest.split_first() {
            covered = covered.max(self.needles.at(rest).0);
            known.push(if covered > 0 { b'*' } else { *first });
            covered = covered.saturating_sub(1);
            rest = after;
        }
        held.fill(0);
        known
    }
}

#[cfg(test)]
mod tests;
