//! An endpoint that answers what a test tells it to, byte by byte.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use dormouse_client::{Builder, Client, Retry};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What to do with a request.
#[derive(Clone)]
pub(crate) enum Act {
    /// Send these bytes and hang up.
    Say(Vec<u8>),
    /// Send these bytes, and then nothing.
    Stall(Vec<u8>),
}

/// A JSON answer with a status.
pub(crate) fn json(status: u16, body: &str) -> Act {
    answer(status, "Content-Type: application/json\r\n", body)
}

/// An answer with headers, each with its line end.
pub(crate) fn answer(status: u16, headers: &str, body: &str) -> Act {
    let length = body.len();
    Act::Say(
        format!("HTTP/1.1 {status} X\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}").into(),
    )
}

pub(crate) struct Fake {
    url: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Fake {
    /// Answers the first request with the first act, and so on; the last one again and again.
    pub(crate) async fn start(acts: impl IntoIterator<Item = Act>) -> Self {
        let acts: Vec<Act> = acts.into_iter().collect();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acts, seen) = (acts.clone(), Arc::clone(&seen));
                tokio::spawn(async move { serve(stream, &acts, &seen).await });
            }
        });
        Self { url, requests }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// A client that retries quickly.
    pub(crate) fn builder(&self) -> Builder {
        let retry = Retry::default().pause(Duration::from_millis(1), Duration::from_millis(2));
        Client::builder(&self.url, "token-of-the-fake").retry(retry).timeout(Duration::from_secs(5))
    }

    pub(crate) fn client(&self) -> Client {
        self.builder().build().unwrap()
    }

    /// All requests, heads and bodies.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }
}

async fn serve(mut stream: TcpStream, acts: &[Act], seen: &Mutex<Vec<String>>) -> Option<()> {
    let request = read(&mut stream).await?;
    let at = {
        let mut seen = seen.lock().unwrap();
        seen.push(request);
        seen.len() - 1
    };
    match acts.get(at).or(acts.last())? {
        Act::Say(bytes) => stream.write_all(bytes).await.ok(),
        Act::Stall(bytes) => {
            stream.write_all(bytes).await.ok()?;
            tokio::time::sleep(Duration::from_secs(30)).await;
            Some(())
        }
    }
}

async fn read(stream: &mut TcpStream) -> Option<String> {
    let mut all = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&all);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
            });
            if body.len() >= length.unwrap_or(0) {
                return Some(text.into_owned());
            }
        }
        let mut some = [0; 4096];
        let read = stream.read(&mut some).await.ok()?;
        if read == 0 {
            return None;
        }
        all.extend_from_slice(&some[..read]);
    }
}
