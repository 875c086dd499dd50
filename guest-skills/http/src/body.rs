//! What is sent, and what came back in the form that was asked for.

use serde::de::IgnoredAny;

use crate::error::fail;
use crate::fetch::Answer;
use crate::tools::{BytesResponse, Error, ErrorCode, HeadResponse, Response};

/// A body to send, with what it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Content {
    pub(crate) kind: String,
    pub(crate) bytes: Vec<u8>,
}

impl Content {
    /// Text, by default plain.
    pub(crate) fn text(text: String, kind: Option<String>) -> Self {
        Self { kind: kind.unwrap_or_else(|| "text/plain; charset=utf-8".to_owned()), bytes: text.into_bytes() }
    }

    /// A document, checked before anything is sent.
    pub(crate) fn json(text: String) -> Result<Self, Error> {
        serde_json::from_str::<IgnoredAny>(&text)
            .map_err(|error| fail(ErrorCode::InvalidInput, None, format!("`json` is not JSON: {error}")))?;
        Ok(Self { kind: "application/json".to_owned(), bytes: text.into_bytes() })
    }

    /// Bytes, by default of no known kind.
    pub(crate) fn bytes(bytes: Vec<u8>, kind: Option<String>) -> Self {
        Self { kind: kind.unwrap_or_else(|| "application/octet-stream".to_owned()), bytes }
    }
}

impl Answer {
    /// The answer without its body.
    pub(crate) fn head(self) -> HeadResponse {
        HeadResponse { status: self.status, headers: self.headers, final_url: self.url, redirects: self.redirects }
    }

    /// The answer as text.
    pub(crate) fn text(self) -> Result<Response, Error> {
        let Ok(body) = String::from_utf8(self.body) else {
            let message = "the answer is not UTF-8 text: use a tool that gives bytes, `get-bytes` or `request`";
            return Err(Error { status: Some(self.status), ..fail(ErrorCode::NotUtf8, Some(&self.url), message) });
        };
        let Self { status, headers, url: final_url, redirects, .. } = Self { body: Vec::new(), ..self };
        Ok(Response { status, headers, body, final_url, redirects })
    }

    /// The answer as text that is JSON.
    pub(crate) fn json(self) -> Result<Response, Error> {
        let response = self.text()?;
        match serde_json::from_str::<IgnoredAny>(&response.body) {
            Ok(_) => Ok(response),
            Err(error) => {
                let message = format!("the answer with status {} is not JSON: {error}", response.status);
                let failure = fail(ErrorCode::InvalidJson, Some(&response.final_url), message);
                Err(Error { status: Some(response.status), ..failure })
            }
        }
    }

    /// The answer as bytes.
    pub(crate) fn bytes(self) -> BytesResponse {
        let Self { status, headers, body, url: final_url, redirects } = self;
        BytesResponse { status, headers, body, final_url, redirects }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(body: &[u8]) -> Answer {
        Answer { status: 404, headers: Vec::new(), body: body.to_vec(), url: "http://a.test/".to_owned(), redirects: 1 }
    }

    #[test]
    fn text_must_be_utf8_and_json_must_be_json() {
        assert_eq!(answer("é".as_bytes()).text().unwrap().body, "é");
        let refused = answer(b"\xff").text().unwrap_err();
        assert_eq!((refused.code, refused.status), (ErrorCode::NotUtf8, Some(404)));
        assert_eq!(answer(b" {\"a\": 1} ").json().unwrap().body, " {\"a\": 1} ");
        let refused = answer(b"<html>").json().unwrap_err();
        assert_eq!((refused.code, refused.status), (ErrorCode::InvalidJson, Some(404)));
        assert!(refused.message.contains("404"), "{}", refused.message);
        assert_eq!(answer(b"\xff").bytes().body, b"\xff");
    }

    #[test]
    fn a_document_is_checked_before_it_is_sent() {
        assert_eq!(Content::json("[1]".to_owned()).unwrap().kind, "application/json");
        assert_eq!(Content::json("[1".to_owned()).unwrap_err().code, ErrorCode::InvalidInput);
        assert_eq!(Content::text(String::new(), None).kind, "text/plain; charset=utf-8");
        assert_eq!(Content::text(String::new(), Some("text/csv".to_owned())).kind, "text/csv");
        assert_eq!(Content::bytes(Vec::new(), None).kind, "application/octet-stream");
    }
}
