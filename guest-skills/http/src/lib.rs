//! The skill `http`: requests to the servers that were granted, one concept a file.

mod body;
mod error;
mod exchange;
mod fetch;
mod headers;
mod limits;
mod redirect;
mod target;

/// Types and glue generated from `wit/world.wit`.
mod bindings {
    wit_bindgen::generate!({ world: "http", path: "wit", additional_derives: [PartialEq, Eq] });
}

use bindings::exports::http::skill::tools;
use tools::{BytesResponse, Error, Guest, HeadResponse, Header, Response};

use body::Content;
use fetch::{Answer, Call, Options};

/// The exported functions; each hands over to the module that has its concept.
struct Component;

/// Follows the call to its answer.
fn send(call: Call, options: Options) -> Result<Answer, Error> {
    fetch::fetch(call, &options, &mut exchange::exchange)
}

fn text(method: &str, url: &str, content: Option<Content>, options: Options) -> Result<Response, Error> {
    send(Call::new(method, url, content), options)?.text()
}

impl Guest for Component {
    fn head(
        url: String,
        headers: Option<Vec<Header>>,
        redirects: Option<u8>,
        timeout_ms: Option<u32>,
        expect_success: Option<bool>,
    ) -> Result<HeadResponse, Error> {
        let options = Options { headers, redirects, max_bytes: None, timeout_ms, expect_success };
        Ok(send(Call::new("HEAD", &url, None), options)?.head())
    }

    fn get(
        url: String,
        headers: Option<Vec<Header>>,
        redirects: Option<u8>,
        max_bytes: Option<u64>,
        timeout_ms: Option<u32>,
        expect_success: Option<bool>,
    ) -> Result<Response, Error> {
        text("GET", &url, None, Options { headers, redirects, max_bytes, timeout_ms, expect_success })
    }

    fn get_json(
        url: String,
        headers: Option<Vec<Header>>,
        redirects: Option<u8>,
        max_bytes: Option<u64>,
        timeout_ms: Option<u32>,
        expect_success: Option<bool>,
    ) -> Result<Response, Error> {
        let options = Options { headers, redirects, max_bytes, timeout_ms, expect_success };
        send(Call::new("GET", &url, None).accept("application/json"), options)?.json()
    }

    fn get_bytes(
        url: String,
        headers: Option<Vec<Header>>,
        redirects: Option<u8>,
        max_bytes: Option<u64>,
        timeout_ms: Option<u32>,
        expect_success: Option<bool>,
    ) -> Result<BytesResponse, Error> {
        let options = Options { headers, redirects, max_bytes, timeout_ms, expect_success };
        Ok(send(Call::new("GET", &url, None), options)?.bytes())
    }

    fn post(
        url: String,
        body: String,
        content_type: Option<String>,
        headers: Option<Vec<Header>>,
        redirects: Option<u8>,
        max_bytes: Option<u64>,
        timeout_ms: Option<u32>,
        expect_success: Option<bool>,
    ) -> Result<Response, Error> {
        let options = Options { headers, redirects, max_bytes, timeout_ms, expect_success };
        text("POST", &url, Some(Content::text(body, content_type)), options)
    }

    fn post_json(
        url: String,
        json: String,
        headers: Option<Vec<Header>>,
        redirects: Option<u8>,
        max_bytes: Option<u64>,
        timeout_ms: Option<u32>,
        expect_success: Option<bool>,
    ) -> Result<Response, Error> {
        let options = Options { headers, redirects, max_bytes, timeout_ms, expect_success };
        text("POST", &url, Some(Content::json(json)?), options)
    }

    fn post_bytes(
        url: String,
        bytes: Vec<u8>,
        content_type: Option<String>,
        headers: Option<Vec<Header>>,
        redirects: Option<u8>,
        max_bytes: Option<u64>,
        timeout_ms: Option<u32>,
        expect_success: Option<bool>,
    ) -> Result<Response, Error> {
        let options = Options { headers, redirects, max_bytes, timeout_ms, expect_success };
        text("POST", &url, Some(Content::bytes(bytes, content_type)), options)
    }

    fn put(
        url: String,
        body: String,
        content_type: Option<String>,
        headers: Option<Vec<Header>>,
        redirects: Option<u8>,
        max_bytes: Option<u64>,
        timeout_ms: Option<u32>,
        expect_success: Option<bool>,
    ) -> Result<Response, Error> {
        let options = Options { headers, redirects, max_bytes, timeout_ms, expect_success };
        text("PUT", &url, Some(Content::text(body, content_type)), options)
    }

    fn put_json(
        url: String,
        json: String,
        headers: Option<Vec<Header>>,
        redirects: Option<u8>,
        max_bytes: Option<u64>,
        timeout_ms: Option<u32>,
        expect_success: Option<bool>,
    ) -> Result<Response, Error> {
        let options = Options { headers, redirects, max_bytes, timeout_ms, expect_success };
        text("PUT", &url, Some(Content::json(json)?), options)
    }

    fn put_bytes(
        url: String,
        bytes: Vec<u8>,
        content_type: Option<String>,
        headers: Option<Vec<Header>>,
        redirects: Option<u8>,
        max_bytes: Option<u64>,
        timeout_ms: Option<u32>,
        expect_success: Option<bool>,
    ) -> Result<Response, Error> {
        let options = Options { headers, redirects, max_bytes, timeout_ms, expect_success };
        text("PUT", &url, Some(Content::bytes(bytes, content_type)), options)
    }

    fn delete(
        url: String,
        headers: Option<Vec<Header>>,
        redirects: Option<u8>,
        max_bytes: Option<u64>,
        timeout_ms: Option<u32>,
        expect_success: Option<bool>,
    ) -> Result<Response, Error> {
        text("DELETE", &url, None, Options { headers, redirects, max_bytes, timeout_ms, expect_success })
    }

    fn request(
        method: String,
        url: String,
        body: Option<Vec<u8>>,
        content_type: Option<String>,
        headers: Option<Vec<Header>>,
        redirects: Option<u8>,
        max_bytes: Option<u64>,
        timeout_ms: Option<u32>,
        expect_success: Option<bool>,
    ) -> Result<BytesResponse, Error> {
        let options = Options { headers, redirects, max_bytes, timeout_ms, expect_success };
        let content = body.map(|bytes| Content::bytes(bytes, content_type));
        Ok(send(Call::new(&method, &url, content), options)?.bytes())
    }
}

/// The exported symbols.
#[expect(unsafe_code, reason = "generated code")]
mod exports {
    use super::{Component, bindings};

    bindings::export!(Component with_types_in bindings);
}
