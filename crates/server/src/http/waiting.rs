//! Commands that wait for a key, over HTTP: a request that says so (`Dormouse-Block: true`) is answered when something has
//! come, or its time is up.
//!
//! A request is no connection: it waits no longer than [`Patience::waiting`](crate::patience::Patience), whatever timeout
//! its command names, and then gets the command's own answer for nothing. While it waits, a client that closes its side is
//! gone (`Phase::Waiting`); the request's future is dropped with the connection, and with it the session, which forgets the
//! parked command before anybody can give it an element.

use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use dormouse_database::{Account, Delivery, Once, Repeat, Session, Step, Unparked};
use dormouse_engine::Ticket;
use dormouse_proto::{Args, CommandError};
use dormouse_storage::Lsn;
use tokio::time::Instant;

use super::socket::{Phase, Progress};
use crate::clock::moment;
use crate::mailbox::Mailbox;
use crate::perform::{Answer, BUSY_POLL, leash, settle};
use crate::worker::Worker;

/// Runs one command to its reply, however long that takes within the limit.
pub(super) async fn perform(
    worker: &Rc<Worker>,
    progress: &Progress,
    account: Account,
    once: Option<Arc<Once>>,
    args: Args<'_>,
) -> Result<Answer, Repeat> {
    let mailbox = Arc::new(Mailbox::default());
    let mut session = Session::waiting_request(&worker.shared.service, account, Arc::clone(&mailbox) as _);
    session.once = once;
    let run = |session: &mut Session| session.command(args, moment(), &leash());
    let first = run(&mut session);
    match settle(&mut session, first, run).await {
        Ok(answer) => Ok(answer),
        Err(Step::Repeat(repeat)) => Err(repeat),
        Err(Step::Parked { ticket, timeout_ms }) => {
            let most = worker.shared.patience.waiting;
            let limit = timeout_ms.map_or(most, |timeout| most.min(Duration::from_millis(timeout)));
            progress.enter(Phase::Waiting);
            let answer = parked(worker, progress, &session, &mailbox, ticket, limit).await;
            progress.enter(Phase::Answering);
            Ok(answer)
        }
        Err(_) => Ok((CommandError::Busy.into(), Lsn(0))),
    }
}

/// Waits for the answer to a parked command.
async fn parked(
    worker: &Rc<Worker>,
    progress: &Progress,
    session: &Session,
    mailbox: &Mailbox,
    ticket: Ticket,
    limit: Duration,
) -> Answer {
    let mut stopping = worker.stopping.clone();
    let mut ended = pin!(async {
        // Either way whoever waits is answered as if the time were up.
        tokio::select! {
            _ = stopping.wait_for(|stop| *stop) => {}
            () = progress.is_gone() => {}
        }
    });
    let mut has_ended = false;
    let mut deadline = pin!(tokio::time::sleep(limit));
    let mut waits = true;
    loop {
        tokio::select! {
            biased;
            delivery = mailbox.receive() => match delivery {
                Ok(Delivery::Unparked { reply, after }) => return (reply, after),
                Ok(_) => {}
                Err(_) => return (CommandError::Busy.into(), Lsn(0)),
            },
            () = &mut deadline, if waits => match session.unpark(ticket) {
                Unparked::Reply { reply, after } => return (reply, after),
                Unparked::Answered => waits = false,
                Unparked::Busy => deadline.as_mut().reset(Instant::now() + BUSY_POLL),
            },
            () = &mut ended, if !has_ended => {
                has_ended = true;
                deadline.as_mut().reset(Instant::now());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::patience::Patience;
    use crate::testing::{Inside, Line, TOKEN, eventually};

    fn impatient() -> Inside {
        let patience = Patience { waiting: Duration::from_millis(300), ..Patience::default() };
        Inside::start(patience, dormouse_engine::Limits::default())
    }

    fn ask(line: &mut Line, body: &str) {
        let length = body.len();
        line.send(format!(
            "POST / HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {TOKEN}\r\nDormouse-Block: true\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        ));
    }

    #[test]
    fn the_limit_of_a_request_ends_every_wait() {
        let server = impatient();
        for body in [r#"["BLPOP","q","0"]"#, r#"["BLPOP","q","3600"]"#, r#"["XREAD","BLOCK","0","STREAMS","s","$"]"#] {
            let since = Instant::now();
            let mut line = server.http();
            ask(&mut line, body);
            assert!(line.until("}").ends_with(r#"{"result":null}"#), "{body}");
            let waited = since.elapsed();
            assert!(waited >= Duration::from_millis(290) && waited < Duration::from_secs(5), "{waited:?}");
        }
        let since = Instant::now();
        let mut line = server.http();
        ask(&mut line, r#"["BLPOP","q","0.05"]"#);
        assert!(line.until("}").ends_with(r#"{"result":null}"#));
        assert!(since.elapsed() < Duration::from_millis(290));
    }

    /// Each way of going: closed, reset, and closed behind another request that nobody has read yet.
    #[test]
    fn who_goes_while_waiting_takes_nothing_along() {
        let server = Inside::start(Patience::default(), dormouse_engine::Limits::default());
        for way in ["closed", "half closed", "reset", "behind another"] {
            let mut gone = server.http();
            ask(&mut gone, r#"["BLPOP","q","0"]"#);
            std::thread::sleep(Duration::from_millis(50));
            let mut kept = None;
            match way {
                "half closed" => {
                    gone.0.shutdown(std::net::Shutdown::Write).unwrap();
                    kept = Some(gone);
                }
                "reset" => {
                    socket2::SockRef::from(&gone.0).set_linger(Some(Duration::ZERO)).unwrap();
                    drop(gone);
                }
                "behind another" => {
                    ask(&mut gone, r#"["PING"]"#);
                    std::thread::sleep(Duration::from_millis(50));
                    drop(gone);
                }
                _ => drop(gone),
            }
            eventually(way, || server.connections() == 0);
            drop(kept);
            assert_eq!(server.http().post("/", r#"["RPUSH","q","a"]"#, "}"), r#"{"result":1}"#, "{way}");
            assert_eq!(server.http().post("/", r#"["LPOP","q"]"#, "}"), r#"{"result":"a"}"#, "{way}");
            eventually("nobody is there", || server.connections() == 0);
        }
    }
}
