//! `Idempotency-Key`: a write that is sent again after a network error runs once, and gets the same answer again.
//!
//! What this module knows is how an answer looks: status, kind and body are what the database keeps as bytes, beside the
//! effects, in the same record of the log (`dormouse_database::Once`). A key belongs to the user who chose it and to one
//! request; it stands for a whole pipeline or transaction. Reads are not kept: to repeat one is harmless.

use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use dormouse_database::{ONCE_KEY_BYTES_MAX, Once, Repeat};
use dormouse_proto::rest::{encode_json, encode_json_list};
use dormouse_proto::{Args, CommandError, Reply, resp};
use dormouse_storage::Lsn;
use http::header::{HeaderMap, HeaderName};
use http::{HeaderValue, Response, StatusCode};
use xxhash_rust::xxh3::Xxh3;

use super::body::Body;
use super::head::Format;
use super::{Refusal, respond, status_of, sync_token};
use crate::worker::Worker;

const KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Says that an answer was given before.
pub(super) const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// An answer, ready to be sent or kept.
pub(super) struct Answer {
    status: StatusCode,
    resp2: bool,
    body: Vec<u8>,
}

impl Answer {
    /// To one command.
    pub(super) fn one(reply: &Reply, format: Format) -> Self {
        let mut body = Vec::with_capacity(64);
        let resp2 = match format {
            Format::Json(encoding) => {
                encode_json(reply, encoding, &mut body);
                false
            }
            Format::Resp2 => {
                resp::encode(reply, resp::Version::Resp2, &mut body);
                true
            }
        };
        let status = match reply {
            Reply::Error(error) => status_of(error),
            // An error deep inside a reply becomes the whole answer.
            _ if !resp2 && body.starts_with(br#"{"error""#) => StatusCode::BAD_REQUEST,
            _ => StatusCode::OK,
        };
        Self { status, resp2, body }
    }

    /// To several.
    pub(super) fn several(replies: &[Reply], format: Format) -> Self {
        let mut body = Vec::with_capacity(32 * replies.len() + 2);
        match format {
            Format::Json(encoding) => encode_json_list(replies, encoding, &mut body),
            Format::Resp2 => {
                for reply in replies {
                    resp::encode(reply, resp::Version::Resp2, &mut body);
                }
            }
        }
        Self { status: StatusCode::OK, resp2: format == Format::Resp2, body }
    }

    /// To several that ran as one, or did not.
    pub(super) fn unit(reply: &Reply, format: Format, merge: impl FnOnce(&[Reply]) -> Vec<Reply>) -> Self {
        match reply {
            Reply::Array(replies) => Self::several(&merge(replies), format),
            other => Self::one(other, format),
        }
    }

    pub(super) fn into_response(self) -> Response<Body> {
        respond(self.status, if self.resp2 { "application/octet-stream" } else { "application/json" }, self.body)
    }

    fn keep(self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.body.len() + 3);
        out.extend(self.status.as_u16().to_be_bytes());
        out.push(u8::from(self.resp2));
        out.extend(self.body);
        out
    }

    fn kept(bytes: &[u8]) -> Option<Self> {
        let (&[high, low, resp2], body) = bytes.split_first_chunk()?;
        let status = StatusCode::from_u16(u16::from_be_bytes([high, low])).ok()?;
        Some(Self { status, resp2: resp2 != 0, body: body.to_vec() })
    }
}

/// The key of a request, if it has one.
pub(super) fn key(headers: &HeaderMap) -> Result<Option<Bytes>, Refusal> {
    let mut values = headers.get_all(&KEY).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let fits = (1..=ONCE_KEY_BYTES_MAX).contains(&value.len());
    if !fits || values.next().is_some() {
        let error = format!("ERR the header Idempotency-Key is given once, with 1 to {ONCE_KEY_BYTES_MAX} bytes");
        return Err(CommandError::from(error).into());
    }
    Ok(Some(Bytes::copy_from_slice(value.as_bytes())))
}

/// Makes a request one that runs once. `form` tells ways of asking for the same commands apart.
pub(super) fn once<'a>(
    (user, key): (&[u8], &[u8]),
    (form, format): (&str, Format),
    commands: impl Iterator<Item = Args<'a>>,
    answer: impl Fn(&Reply) -> Answer + Send + Sync + 'static,
) -> Arc<Once> {
    let mut digest = Xxh3::new();
    let mut part = |bytes: &[u8]| {
        digest.update(&(bytes.len() as u64).to_be_bytes());
        digest.update(bytes);
    };
    part(form.as_bytes());
    part(format!("{format:?}").as_bytes());
    for args in commands {
        part(&(args.len() as u64).to_be_bytes());
        for arg in args {
            part(arg);
        }
    }
    let key = [user, &[0], key].concat();
    Arc::new(Once { key, request: digest.digest128(), answer: Box::new(move |reply| answer(reply).keep()) })
}

/// Answers a request that was sent before.
pub(super) async fn repeat(worker: &Rc<Worker>, repeat: Repeat) -> Result<Response<Body>, Refusal> {
    let conflict = |text| Err(Refusal(StatusCode::CONFLICT, CommandError::text(text)));
    match repeat {
        Repeat::Other => Err(Refusal(
            StatusCode::UNPROCESSABLE_ENTITY,
            CommandError::text("ERR this Idempotency-Key was used for another request"),
        )),
        Repeat::Running => conflict("ERR a request with this Idempotency-Key is still waiting for its key"),
        Repeat::Answer { answer, after } => {
            worker.gate.pass(after).await?;
            let Some(answer) = answer.as_deref().and_then(Answer::kept) else {
                return conflict(
                    "ERR this request has run already; its answer was not kept, being too large or a secret",
                );
            };
            let mut response = answer.into_response();
            response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
            sync_token(worker, &mut response, Lsn(0));
            Ok(response)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dormouse_proto::rest::Encoding;

    #[test]
    fn answers_are_kept_as_they_are() {
        for (reply, format, status) in [
            (Reply::OK, Format::Json(Encoding::Text), 200),
            (Reply::Integer(1), Format::Resp2, 200),
            (CommandError::WrongType.into(), Format::Resp2, 400),
            (Reply::Array(vec![CommandError::WrongType.into()]), Format::Json(Encoding::Base64), 400),
        ] {
            let (sent, kept) = (Answer::one(&reply, format), Answer::one(&reply, format).keep());
            let kept = Answer::kept(&kept).unwrap();
            assert_eq!((kept.status.as_u16(), kept.resp2), (status, format == Format::Resp2));
            assert_eq!(kept.body, sent.body);
        }
        assert!(Answer::kept(b"").is_none() && Answer::kept(&[0, 1, 0]).is_none());
    }

    #[test]
    fn requests_differ_by_what_they_ask_for() {
        let json = Format::Json(Encoding::Text);
        let digest = |form, format, commands: &[&[&[u8]]]| {
            once((b"u", b"k"), (form, format), commands.iter().copied(), move |reply| Answer::one(reply, format))
                .request
        };
        let all = [
            digest("one", json, &[&[b"SET", b"k", b"v"]]),
            digest("one", json, &[&[b"SET", b"kv", b""]]),
            digest("one", json, &[&[b"SET", b"k"], &[b"v"]]),
            digest("pipeline", json, &[&[b"SET", b"k", b"v"]]),
            digest("one", Format::Resp2, &[&[b"SET", b"k", b"v"]]),
        ];
        let distinct: std::collections::BTreeSet<u128> = all.into_iter().collect();
        assert_eq!(distinct.len(), all.len());
    }
}
