//! What is logged at the level that people keep: names of commands and how they went, and nothing of anybody's data.

use std::io::Write;
use std::sync::{Arc, Mutex};

use dormouse_client::{Json, Script, SetOptions, TestServer};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::FmtSpan;

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[tokio::test]
async fn nothing_secret_is_logged() {
    let log = Log::default();
    let server = TestServer::start().unwrap();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_max_level(tracing::Level::INFO)
        .with_span_events(FmtSpan::FULL)
        .with_writer(log.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let client = server.client();
    client.set("hunter2", b"hunter2\xff").await.unwrap();
    client.set_with("hunter2", "hunter2", SetOptions::new().nx()).await.unwrap();
    let wrong = client.pipeline((client.lpush("hunter2", "hunter2"), client.get::<i64>("hunter2"))).await.unwrap();
    let json = client.get::<Json<u64>>("hunter2").await.unwrap_err();
    let failed = Script::new("return redis.error_reply('hunter2')").key("hunter2").run::<()>(&client).await;
    assert!(failed.unwrap_err().to_string().contains("hunter2"), "a server's words are the caller's to see");
    let shown = format!("{json} {json:?} {:?} {:?} {client:?} {server:?}", wrong.1, client.get::<String>("hunter2"));
    assert!(!shown.contains("hunter2") && !shown.contains(server.token()), "{shown}");
    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    for part in ["db.operation.name=SET", "db.operation.name=PIPELINE", "batch.size=2", "server.address=127.0.0.1"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(text.contains("error.type=\"server\"") && text.contains("http.response.status_code=400"), "{text}");
    assert!(!text.contains("hunter2") && !text.contains(server.token()), "{text}");
}
