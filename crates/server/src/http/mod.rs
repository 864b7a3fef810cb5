//! The REST door: Upstash's protocol over HTTP.
//!
//! A request is decoded (method, token, headers, form of the command), run through a session of its own, and its reply
//! encoded once everything it shows is durable. `/pipeline`, `/multi-exec` and the subscriptions are ways of delivering
//! commands; but for those that stream (`stream.rs`), no command is known by name. Every answer, errors included, is JSON that the SDKs can parse.

mod body;
mod head;
mod once;
mod socket;
mod stream;
mod two;
mod waiting;

use std::cell::RefCell;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use dormouse_database::{Account, Once, Repeat, Session, Step};
use dormouse_engine::{Queued, Waiting};
use dormouse_proto::rest::{Encoding, Limits, Pipeline, encode_json, parse_command, parse_path, parse_pipeline};
use dormouse_proto::{Args, CommandError, Reply};
use dormouse_storage::Lsn;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;

use self::body::{Body, Tracked, discard, read};
use self::head::{Format, Head, cors, preflight};
use self::once::Answer;
use self::socket::{Owed, Phase, Progress, Socket};
use crate::clock::moment;
use crate::perform::{Turn, leash, settle, when_durable};
use crate::tls::Stream;
use crate::worker::Worker;

/// Bytes of a request's body (the plan limit of the hosted service's smaller plans).
const REQUEST_BYTES_MAX: usize = 10 << 20;
/// Bytes of a request's line and headers.
const HEAD_BYTES_MAX: usize = 64 << 10;
/// Bytes read at once, so that large bodies come in few pieces. Heads this large never get as far as a handler.
const BUFFER_BYTES_MAX: usize = 1 << 20;

/// What a client is told for whom there is no room.
pub(crate) const NO_ROOM: &str = "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\n\
    Content-Length: 53\r\nConnection: close\r\n\r\n{\"error\":\"ERR max concurrent connections exceeded\"}\r\n";

/// What a client is told that speaks plainly where TLS is spoken.
pub(crate) const NOT_PLAINLY: &str = "HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\n\
    Content-Length: 52\r\nConnection: close\r\n\r\n{\"error\":\"ERR this port speaks TLS: use https://\"}\r\n";

/// Serves one connection to its end.
pub(crate) async fn serve(worker: Rc<Worker>, stream: Stream, _address: SocketAddr) {
    let mut stopping = worker.stopping.clone();
    let stream = Rc::new(RefCell::new(stream));
    let progress = Rc::new(Progress::over(&stream));
    let socket = Socket::new(Rc::clone(&stream), Rc::clone(&progress), worker.shared.patience);
    let ours = Rc::clone(&worker);
    let service = service_fn(move |request| {
        let (worker, progress) = (Rc::clone(&ours), Rc::clone(&progress));
        progress.enter(Phase::Reading);
        async move {
            progress.drained().await;
            let response = answer(&worker, &progress, request).await;
            let streams = matches!(response.body(), Body::Events(_));
            progress.enter(if streams { Phase::Streaming } else { Phase::Open });
            Ok::<_, Infallible>(response.map(|body| Tracked { body, _owed: Owed::new(&progress) }))
        }
    });
    // Waiting for heads is the socket's business: hyper's own timer would count silence between requests, too.
    let mut connection =
        http1::Builder::new().max_buf_size(BUFFER_BYTES_MAX).serve_connection(TokioIo::new(socket), service);
    let ended = tokio::select! {
        ended = Pin::new(&mut connection) => ended,
        _ = stopping.wait_for(|stop| *stop) => {
            Pin::new(&mut connection).graceful_shutdown();
            Pin::new(&mut connection).await
        }
    };
    match ended {
        Err(error) if error.is_parse_version_h2() => {
            let ahead = connection.into_parts().read_buf;
            two::serve(worker, stream, ahead).await;
        }
        Err(error) => tracing::debug!(%error, "an HTTP connection failed"),
        Ok(()) => {}
    }
}

/// A request that cannot be run: status and error.
struct Refusal(StatusCode, CommandError);

impl From<CommandError> for Refusal {
    fn from(error: CommandError) -> Self {
        Self(status_of(&error), error)
    }
}

/// The status of a request whose command failed: mostly it was the command.
const fn status_of(error: &CommandError) -> StatusCode {
    match error {
        CommandError::LogFailed | CommandError::StoreFailed => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::BAD_REQUEST,
    }
}

async fn answer(worker: &Rc<Worker>, progress: &Progress, request: Request<Incoming>) -> Response<Body> {
    let origin = request.headers().contains_key(http::header::ORIGIN);
    let mut response = if request.method() == Method::OPTIONS {
        preflight(&request)
    } else {
        let head_only = request.method() == Method::HEAD;
        let mut response =
            route(worker, progress, request).await.unwrap_or_else(|Refusal(status, error)| refuse(status, error));
        if head_only {
            *response.body_mut() = Body::empty();
        }
        response
    };
    if origin {
        cors(&mut response);
    }
    response
}

fn refuse(status: StatusCode, error: CommandError) -> Response<Body> {
    let mut out = Vec::new();
    encode_json(&error.into(), Encoding::Text, &mut out);
    let mut response = respond(status, "application/json", out);
    if status == StatusCode::METHOD_NOT_ALLOWED {
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD, POST, PUT, OPTIONS"));
    }
    response
}

fn respond(status: StatusCode, content_type: &'static str, body: Vec<u8>) -> Response<Body> {
    let mut response = Response::new(Body::full(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

async fn route(
    worker: &Rc<Worker>,
    progress: &Progress,
    request: Request<Incoming>,
) -> Result<Response<Body>, Refusal> {
    if !matches!(*request.method(), Method::GET | Method::HEAD | Method::POST | Method::PUT) {
        let text = format!("ERR method {} is not allowed: use GET, HEAD, POST or PUT", request.method());
        return Err(Refusal(StatusCode::METHOD_NOT_ALLOWED, text.into()));
    }
    if request.uri().path() == "/health" {
        return health(worker);
    }
    let (parts, incoming) = request.into_parts();
    if head::bytes(&parts) > HEAD_BYTES_MAX {
        discard(incoming, &parts.headers).await;
        let error = CommandError::text(head::TOO_LARGE);
        return Err(Refusal(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, error));
    }
    let token = head::token(&parts);
    let account = token.map(|token| worker.shared.service.authenticate(&token)).transpose()?.flatten();
    let Some(account) = account else {
        discard(incoming, &parts.headers).await;
        return Err(Refusal(StatusCode::UNAUTHORIZED, CommandError::WrongToken));
    };
    let head = Head::read(&parts)?;
    let body = read(incoming, &parts.headers, REQUEST_BYTES_MAX).await?;
    progress.enter(Phase::Answering);
    let waits = head.block()?.unwrap_or(worker.shared.block_over_rest);
    let key = once::key(&parts.headers)?;
    let call = Call { worker, progress, account, format: head.format, waits, key };
    let path = parts.uri.path();
    // A base URL that ends in a slash makes two of them; one behind an endpoint or a command says nothing.
    let path = path.trim_start_matches('/');
    match path.strip_suffix('/').unwrap_or(path) {
        "" if body.is_empty() && matches!(parts.method, Method::GET | Method::HEAD) => Ok(greeting()),
        "" => single(call, &body).await,
        "pipeline" => pipeline(call, &body).await,
        "multi-exec" => transaction(call, &body).await,
        other => {
            if let Some(stream) = stream::kind(other) {
                return stream::open(worker, call.account, stream, other);
            }
            from_path(call, &parts.uri, &body).await
        }
    }
}

/// A request that may run: everything about it but its commands.
struct Call<'a> {
    worker: &'a Rc<Worker>,
    progress: &'a Progress,
    account: Account,
    format: Format,
    /// Whether a command may wait for a key.
    waits: bool,
    /// Names the request, if it must not run twice.
    key: Option<Bytes>,
}

impl Call<'_> {
    /// A session for several commands, none of which holds up the others.
    fn session(&self) -> Session {
        let mut session = Session::request(&self.worker.shared.service, self.account.clone(), None);
        if self.waits {
            session.client.waiting = Waiting::EndsAtOnce;
        }
        session
    }

    /// What keeps the request from running twice, if it is named.
    fn once<'a>(
        &self,
        form: &str,
        commands: impl Iterator<Item = Args<'a>>,
        answer: impl Fn(&Reply) -> Answer + Send + Sync + 'static,
    ) -> Option<Arc<Once>> {
        let (user, key) = (self.account.user(), self.key.as_ref()?);
        let named = (user.as_slice(), &**key);
        Some(once::once(named, (form, self.format), commands, answer))
    }
}

/// Whether the process can serve, for load balancers: no token needed, nothing told.
fn health(worker: &Rc<Worker>) -> Result<Response<Body>, Refusal> {
    let service = &worker.shared.service;
    if service.log().has_failed() {
        return Err(Refusal(StatusCode::SERVICE_UNAVAILABLE, CommandError::LogFailed));
    }
    if service.has_checkpoint_failed() {
        let error = CommandError::text("ERR the last checkpoint failed; see the server's log");
        return Err(Refusal(StatusCode::SERVICE_UNAVAILABLE, error));
    }
    Ok(respond(StatusCode::OK, "application/json", br#"{"status":"ok"}"#.to_vec()))
}

fn greeting() -> Response<Body> {
    let text = "Dormouse is awake. POST a JSON array such as [\"PING\"] here.\n";
    respond(StatusCode::OK, "text/plain; charset=utf-8", text.as_bytes().to_vec())
}

/// `POST /` with `["SET","k","v"]`.
async fn single(call: Call<'_>, body: &[u8]) -> Result<Response<Body>, Refusal> {
    let mut scratch = Vec::new();
    let args = parse_command(body, &mut scratch, &Limits::default()).map_err(CommandError::from)?;
    one(call, &args).await
}

/// `/SET/k/v`, with the body and the query as further arguments.
async fn from_path(call: Call<'_>, uri: &http::Uri, body: &[u8]) -> Result<Response<Body>, Refusal> {
    let query = uri.query().map(str::as_bytes);
    let path = parse_path(uri.path().as_bytes(), query, Limits::default().args_max).map_err(CommandError::from)?;
    one(call, &path.args(body)).await
}

async fn one(call: Call<'_>, args: Args<'_>) -> Result<Response<Body>, Refusal> {
    let format = call.format;
    let once = call.once("one", std::iter::once(args), move |reply| Answer::one(reply, format));
    let Call { worker, progress, account, waits, .. } = call;
    let performed = if waits {
        waiting::perform(worker, progress, account, once, args).await
    } else {
        let mut session = Session::request(&worker.shared.service, account, None);
        session.once = once;
        perform(&mut session, args).await
    };
    let answer = match performed {
        Ok(answer) => answer,
        Err(repeat) => return once::repeat(worker, repeat).await,
    };
    let after = answer.1;
    let reply = when_durable(worker, answer).await;
    let mut response = Answer::one(&reply, format).into_response();
    sync_token(worker, &mut response, after);
    Ok(response)
}

/// Runs one command to its reply. Nothing parks here: the session refuses what would, or answers at once.
async fn perform(session: &mut Session, args: Args<'_>) -> Result<(Reply, Lsn), Repeat> {
    let run = |session: &mut Session| session.command(args, moment(), &leash());
    let first = run(session);
    match settle(session, first, run).await {
        Ok(answer) => Ok(answer),
        Err(Step::Repeat(repeat)) => Err(repeat),
        Err(step) => {
            if let Step::Parked { ticket, .. } = step {
                session.abandon(ticket);
            }
            Ok((CommandError::NotOverRest("blocking".into()).into(), Lsn(0)))
        }
    }
}

/// `POST /pipeline`: each command by itself, in order.
async fn pipeline(call: Call<'_>, body: &[u8]) -> Result<Response<Body>, Refusal> {
    let mut scratch = Vec::new();
    let commands = parse_pipeline(body, &mut scratch, &Limits::default()).map_err(CommandError::from)?;
    if call.key.is_some() {
        return pipeline_once(call, &commands).await;
    }
    let mut session = call.session();
    let Call { worker, format, .. } = call;
    let limit = worker.shared.service.limits().replies_bytes_max;
    let mut replies = Vec::with_capacity(commands.len());
    let (mut newest, mut bytes) = (Lsn(0), 0);
    let mut turn = Turn::default();
    for args in commands.iter() {
        if bytes > limit {
            replies.push(CommandError::PipelineTooLarge(limit).into());
            continue;
        }
        let (reply, after) = perform(&mut session, args).await.unwrap_or_else(|_| (CommandError::Busy.into(), Lsn(0)));
        newest = newest.max(after);
        bytes += reply.bytes();
        replies.push(reply);
        turn.pass(session.client.active_ms).await;
    }
    worker.gate.pass(newest).await?;
    let mut response = Answer::several(&replies, format).into_response();
    sync_token(worker, &mut response, newest);
    Ok(response)
}

/// A pipeline that must not run twice is one unit, and one record of the log: between its commands nobody else's run. A
/// command that is wrong has its error in its place, as in any pipeline, and the others run.
async fn pipeline_once(call: Call<'_>, commands: &Pipeline<'_>) -> Result<Response<Body>, Refusal> {
    let mut session = call.session();
    let mut queue = Vec::with_capacity(commands.len());
    let mut errors = Vec::with_capacity(commands.len());
    for args in commands.iter() {
        match session.part(args) {
            Ok(part) => {
                queue.push(part);
                errors.push(None);
            }
            Err(error) => errors.push(Some(error)),
        }
    }
    let merge = move |replies: &[Reply]| {
        let mut replies = replies.iter();
        let own = |error: &Option<CommandError>| match error {
            Some(error) => Some(error.clone().into()),
            None => replies.next().cloned(),
        };
        errors.iter().filter_map(own).collect()
    };
    together(call, session, "pipeline", commands, &queue, merge).await
}

/// `POST /multi-exec`: all commands as one, or none.
async fn transaction(call: Call<'_>, body: &[u8]) -> Result<Response<Body>, Refusal> {
    if call.format == Format::Resp2 {
        return Err(CommandError::text("ERR the response format resp2 is not available for multi-exec").into());
    }
    let mut scratch = Vec::new();
    let commands = parse_pipeline(body, &mut scratch, &Limits::default()).map_err(CommandError::from)?;
    let mut session = call.session();
    let queue = commands.iter().map(|args| session.part(args)).collect::<Result<Vec<_>, _>>()?;
    together(call, session, "multi-exec", &commands, &queue, <[Reply]>::to_vec).await
}

/// Runs commands as one unit, and answers with what `merge` makes of their replies.
async fn together(
    call: Call<'_>,
    mut session: Session,
    form: &str,
    commands: &Pipeline<'_>,
    queue: &[Queued],
    merge: impl Fn(&[Reply]) -> Vec<Reply> + Clone + Send + Sync + 'static,
) -> Result<Response<Body>, Refusal> {
    let (worker, format) = (call.worker, call.format);
    let kept = merge.clone();
    session.once = call.once(form, commands.iter(), move |reply| Answer::unit(reply, format, &kept));
    let run = |session: &mut Session| session.together(queue, moment(), &leash());
    let first = run(&mut session);
    let (reply, after) = match settle(&mut session, first, run).await {
        Ok(answer) => answer,
        Err(Step::Repeat(repeat)) => return once::repeat(worker, repeat).await,
        Err(_) => (CommandError::Busy.into(), Lsn(0)),
    };
    worker.gate.pass(after).await?;
    let mut response = Answer::unit(&reply, format, merge).into_response();
    sync_token(worker, &mut response, after);
    Ok(response)
}

/// Tells the client how far it has got. There are no replicas yet that a later read could be behind on; the token differs
/// after each write, as the SDKs expect.
fn sync_token(worker: &Rc<Worker>, response: &mut Response<Body>, after: Lsn) {
    let position = if after == Lsn(0) { worker.shared.service.log().durable() } else { after };
    response.headers_mut().insert(head::SYNC_TOKEN, HeaderValue::from(position.0));
}

/// Replies that must not be kept by anybody on the way.
fn uncached(response: &mut Response<Body>) {
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::patience::Patience;
    use crate::testing::{Inside, Line, TOKEN, eventually};

    fn small_replies() -> Inside {
        let limits = dormouse_engine::Limits { replies_bytes_max: 10_000, ..Default::default() };
        let server = Inside::start(Patience::default(), limits);
        let set = format!(r#"["SET","k","{}"]"#, "v".repeat(4_000));
        assert_eq!(server.http().post("/", &set, "}"), r#"{"result":"OK"}"#);
        server
    }

    #[test]
    fn a_pipeline_stops_when_its_replies_reach_the_limit() {
        let server = small_replies();
        let body = r#"[["GET","k"],["GET","k"],["GET","k"],["SET","other","v"],["GET","k"]]"#;
        let answer = server.http().post("/pipeline", body, "}]");
        assert_eq!(answer.matches("vvvv\"}").count(), 3, "the limit is passed by one reply, not more");
        let error =
            "ERR max request size exceeded by the replies before this command. Limit: 10000 bytes. It was not run.";
        assert_eq!(answer.matches(error).count(), 2);
        assert_eq!(server.http().post("/", r#"["EXISTS","other"]"#, "}"), r#"{"result":0}"#);
    }

    #[test]
    fn a_transaction_whose_replies_pass_the_limit_is_taken_back() {
        let server = small_replies();
        let body = r#"[["SET","other","v"],["GET","k"],["GET","k"],["GET","k"],["APPEND","k","x"],["PING"]]"#;
        let error =
            "ERR max request size exceeded by the replies of the transaction. Limit: 10000 bytes. No key was changed.";
        assert_eq!(server.http().post("/multi-exec", body, "}"), format!(r#"{{"error":"{error}"}}"#));
        assert_eq!(server.http().post("/", r#"["EXISTS","other"]"#, "}"), r#"{"result":0}"#);
        let body = r#"[["STRLEN","k"],["GET","k"],["GET","k"],["GET","k"]]"#;
        assert!(server.http().post("/multi-exec", body, "}]").starts_with(r#"[{"result":4000},{"result":"vv"#));
        let mut wire = server.resp();
        wire.send("MULTI\r\nAPPEND k x\r\nGET k\r\nGET k\r\nGET k\r\nPING\r\nEXEC\r\n");
        assert!(wire.until("changed.\r\n").ends_with(&format!("-{error}\r\n")));
        assert_eq!(wire.say("STRLEN k"), ":4000\r\n");
    }

    #[test]
    fn a_slow_head_is_given_up_and_an_idle_connection_kept() {
        let patience =
            Patience { head: Duration::from_millis(200), idle: Duration::from_secs(1), ..Patience::default() };
        let server = Inside::start(patience, dormouse_engine::Limits::default());
        let mut kept = server.http();
        for _ in 0..3 {
            assert_eq!(kept.post("/", r#"["PING"]"#, "}"), r#"{"result":"PONG"}"#);
            std::thread::sleep(Duration::from_millis(400));
        }
        // A stream is silent between messages, and its reader always.
        let mut stream = server.http();
        stream.send(format!("GET /subscribe/c?_token={TOKEN} HTTP/1.1\r\nHost: h\r\n\r\n"));
        stream.until("data: subscribe,c,1\n\n\r\n");
        let mut slow = server.http();
        slow.send("GET /get/k HTTP/1.1\r\nHost:");
        assert!(slow.closed() < Duration::from_millis(900));
        let closed = kept.closed();
        assert!(closed > Duration::from_millis(200), "{closed:?}");
        std::thread::sleep(Duration::from_millis(700));
        kept = server.http();
        assert_eq!(kept.post("/", r#"["PUBLISH","c","m"]"#, "}"), r#"{"result":1}"#);
        stream.until("data: message,c,m\n\n\r\n");
    }

    #[test]
    fn a_client_that_never_reads_is_cut_off() {
        let patience = Patience { reading: Duration::from_millis(300), ..Patience::default() };
        let server = Inside::start(patience, dormouse_engine::Limits::default());
        let big = "v".repeat(32 << 20);
        let mut wire = server.resp();
        wire.send(format!("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n${}\r\n{big}\r\n", big.len()));
        assert_eq!(wire.until("\r\n"), "+OK\r\n");
        drop(wire);
        eventually("nobody is there", || server.connections() == 0);
        for address in [server.http, server.resp] {
            let mut line = Line::connect(address);
            if address == server.http {
                line.send(format!("GET /get/k?_token={TOKEN} HTTP/1.1\r\nHost: h\r\n\r\n"));
            } else {
                line.send(format!("AUTH {TOKEN}\r\nGET k\r\n"));
            }
            eventually("it is there", || server.connections() == 1);
            eventually("it is cut off", || server.connections() == 0);
        }
    }

    #[test]
    fn heads_past_the_limit_are_refused_in_json() {
        let server = Inside::start(Patience::default(), dormouse_engine::Limits::default());
        let text = r#"{"error":"ERR the request's line and headers are too large, at most 64 KB are allowed"}"#;
        let long = format!("X-Long: {}\r\n", "x".repeat(66_000));
        let many = "X-Many: v\r\n".repeat(200);
        for (flood, status) in [(long, 431), (many, 431)] {
            let mut http = server.http();
            http.send(format!("GET /get/k?_token={TOKEN} HTTP/1.1\r\nHost: h\r\n{flood}\r\n"));
            let answer = http.until("}");
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")) && answer.ends_with(text), "{answer}");
            assert!(answer.contains("content-type: application/json\r\n"), "{answer}");
        }
        let mut http = server.http();
        http.send("NONSENSE\r\n\r\n");
        let answer = http.until("}");
        assert!(
            answer.starts_with("HTTP/1.1 400 ") && answer.contains("{\"error\":\"ERR the request is not HTTP"),
            "{answer}"
        );
        http.closed();
    }

    #[test]
    fn a_value_that_looks_like_an_error_of_http_is_not_rewritten() {
        let server = Inside::start(Patience::default(), dormouse_engine::Limits::default());
        let value = "HTTP/1.1 4".repeat(1_500_000) + "\r\n";
        let body = format!("${}\r\n{value}\r\n", value.len());
        let mut wire = server.resp();
        wire.send(format!("*3\r\n$3\r\nSET\r\n$5\r\nsniff\r\n{body}"));
        assert_eq!(wire.until("\r\n"), "+OK\r\n");
        // What is left after a partial write begins anywhere: some of these clients make it begin like an error.
        for round in 0..6 {
            let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
            socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            socket.set_recv_buffer_size(200_000 + round * 1_000).unwrap();
            socket.connect(&server.http.into()).unwrap();
            let mut http = Line(socket.into());
            http.send(format!(
                "GET /get/sniff?_token={TOKEN} HTTP/1.1\r\nHost: h\r\nUpstash-Response-Format: resp2\r\n\r\n"
            ));
            // It reads slowly; the head comes by itself or with some of the body.
            std::thread::sleep(Duration::from_millis(100));
            let mut answer = http.until("\r\n\r\n");
            if answer.len() < body.len() {
                answer += &http.until("\r\n\r\n");
            }
            let (_, got) = answer.split_once("\r\n\r\n").unwrap();
            assert_eq!(got.len(), body.len(), "{}", &got[got.len().saturating_sub(150)..]);
            assert!(got == body);
            // The connection is what it was: hyper's own errors still get a body, and the next answer does not.
            assert_eq!(http.post("/", r#"["PING"]"#, "}"), r#"{"result":"PONG"}"#);
            http.send("NONSENSE\r\n\r\n");
            assert!(http.until("}").contains("{\"error\":\"ERR the request is not HTTP"));
        }
    }
}
