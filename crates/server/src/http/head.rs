//! What a request's head says: who asks, how the reply should look, and what browsers need to hear.

use std::borrow::Cow;

use dormouse_proto::CommandError;
use dormouse_proto::rest::{Encoding, token_in_query};
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS, AUTHORIZATION, HeaderName,
};
use http::{HeaderValue, Request, Response, StatusCode};

use super::Refusal;
use super::body::Body;

/// How far a client has got; see `sync_token` in the parent.
pub(super) const SYNC_TOKEN: HeaderName = HeaderName::from_static("upstash-sync-token");
const ENCODING: HeaderName = HeaderName::from_static("upstash-encoding");
const FORMAT: HeaderName = HeaderName::from_static("upstash-response-format");
/// Whether a command may wait for a key: `true` or `false`, before what the operator has set.
const BLOCK: HeaderName = HeaderName::from_static("dormouse-block");
/// A misspelling in published examples that people copy.
const FORMAT_MISSPELT: HeaderName = HeaderName::from_static("upstash-reponse-format");
/// What the SDKs send from browsers, where a preflight does not list it.
const HEADERS_SENT: &str = "authorization, content-type, accept, cache-control, dormouse-block, idempotency-key, \
                            upstash-encoding, upstash-sync-token, upstash-response-format, upstash-telemetry-runtime, upstash-telemetry-platform, \
                            upstash-telemetry-sdk";

/// What a head past its limit is answered.
pub(super) const TOO_LARGE: &str = "ERR the request's line and headers are too large, at most 64 KB are allowed";

/// Bytes of a request's line and headers, near enough.
pub(super) fn bytes(parts: &http::request::Parts) -> usize {
    let target = parts.uri.path_and_query().map_or(0, |target| target.as_str().len());
    let fields = parts.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4);
    target + fields.sum::<usize>()
}

/// How a reply is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Json(Encoding),
    Resp2,
}

/// See the module's text.
pub(super) struct Head<'a> {
    parts: &'a http::request::Parts,
    pub(super) format: Format,
}

impl<'a> Head<'a> {
    pub(super) fn read(parts: &'a http::request::Parts) -> Result<Self, Refusal> {
        let header = |name: &HeaderName| parts.headers.get(name).map(HeaderValue::as_bytes);
        let base64 = header(&ENCODING).is_some_and(|value| value == b"base64");
        let format = match header(&FORMAT).or_else(|| header(&FORMAT_MISSPELT)) {
            None | Some(b"json") => Format::Json(if base64 { Encoding::Base64 } else { Encoding::Text }),
            Some(b"resp2") if base64 => {
                return Err(CommandError::text("ERR the response format resp2 cannot be combined with base64").into());
            }
            Some(b"resp2") => Format::Resp2,
            Some(_) => return Err(CommandError::text("ERR unknown response format: use json or resp2").into()),
        };
        Ok(Self { parts, format })
    }

    /// Whether the command may wait for a key, if the request says so.
    pub(super) fn block(&self) -> Result<Option<bool>, Refusal> {
        match self.parts.headers.get(&BLOCK).map(|value| value.as_bytes().trim_ascii().to_ascii_lowercase()).as_deref()
        {
            None => Ok(None),
            Some(b"true") => Ok(Some(true)),
            Some(b"false") => Ok(Some(false)),
            Some(_) => Err(CommandError::text("ERR the header Dormouse-Block is true or false").into()),
        }
    }
}

/// The token: of the header, or else of the query.
pub(super) fn token(parts: &http::request::Parts) -> Option<Cow<'_, [u8]>> {
    if let Some(value) = parts.headers.get(AUTHORIZATION) {
        return bearer(value.as_bytes()).map(Cow::Borrowed);
    }
    token_in_query(parts.uri.query()?.as_bytes())
}

fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}

/// Answers a browser that asks whether it may ask.
pub(super) fn preflight<B>(request: &Request<B>) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let asked = request.headers().get(ACCESS_CONTROL_REQUEST_HEADERS).cloned();
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, HEAD, POST, PUT"));
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, asked.unwrap_or(HeaderValue::from_static(HEADERS_SENT)));
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("86400"));
    cors(&mut response);
    response
}

/// Lets a page of any origin read the reply: the token is the only protection, as there are no cookies.
pub(super) fn cors(response: &mut Response<Body>) {
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("upstash-sync-token, idempotency-replayed"));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(headers: &[(&'static str, &'static str)], uri: &str) -> http::request::Parts {
        let mut request = Request::builder().uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn the_header_names_the_token_before_the_query_does() {
        for (headers, uri, token) in [
            (&[("authorization", "Bearer abc")][..], "/get/k?_token=def", Some("abc")),
            (&[("authorization", "bearer  abc ")], "/", Some("abc")),
            (&[("authorization", "Basic abc")], "/?_token=def", None),
            (&[("authorization", "x")], "/", None),
            (&[], "/get/k?a=1&_token=d%2Bef", Some("d+ef")),
            (&[], "/get/k", None),
        ] {
            let parts = parts(headers, uri);
            assert_eq!(
                super::token(&parts).map(Cow::into_owned),
                token.map(|token| token.as_bytes().to_vec()),
                "{headers:?} {uri}"
            );
        }
    }

    #[test]
    fn formats_are_checked() {
        let format =
            |headers: &[(&'static str, &'static str)]| Head::read(&parts(headers, "/")).ok().map(|head| head.format);
        assert_eq!(format(&[]), Some(Format::Json(Encoding::Text)));
        assert_eq!(format(&[("upstash-encoding", "base64")]), Some(Format::Json(Encoding::Base64)));
        assert_eq!(format(&[("upstash-encoding", "rot13")]), Some(Format::Json(Encoding::Text)));
        assert_eq!(format(&[("upstash-response-format", "resp2")]), Some(Format::Resp2));
        assert_eq!(format(&[("upstash-response-format", "xml")]), None);
        assert_eq!(format(&[("upstash-response-format", "resp2"), ("upstash-encoding", "base64")]), None);
    }
}
