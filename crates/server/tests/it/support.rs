//! A server in another process, and two small clients that can misbehave: one for each door.
//!
//! The clients are written by hand because tests need what libraries prevent: half a request, a byte at a time, no reading
//! at all. Every wait is bounded, so that a test that hangs fails instead.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

/// The token that opens everything.
pub(crate) const TOKEN: &str = "token-that-opens-everything";
/// The token that opens reads.
pub(crate) const READ_ONLY: &str = "token-that-opens-reads";
/// How long anything may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// The binary under test, with no settings from the environment.
pub(crate) fn dormouse() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dormouse"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("DORMOUSE_")) {
        command.env_remove(name);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Lines of an output, gathered by a thread so that the process never waits for us.
fn gather(output: impl Read + Send + 'static) -> (Receiver<String>, Arc<Mutex<String>>) {
    let (send, lines) = channel();
    let all = Arc::new(Mutex::new(String::new()));
    let ours = Arc::clone(&all);
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            ours.lock().unwrap().push_str(&(line.clone() + "\n"));
            let _ = send.send(line);
        }
    });
    (lines, all)
}

/// A running server. Dropping it kills it.
pub(crate) struct Server {
    child: Child,
    pub(crate) http: SocketAddr,
    pub(crate) resp: Option<SocketAddr>,
    stdout: Arc<Mutex<String>>,
    stderr: Arc<Mutex<String>>,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    /// Starts it on a directory, on free ports and with known tokens.
    pub(crate) fn start(dir: &Path, more: &[&str]) -> Self {
        let mut command = dormouse();
        command.arg("--data").arg(dir).args([
            "--http",
            "127.0.0.1:0",
            "--token",
            TOKEN,
            "--read-only-token",
            READ_ONLY,
        ]);
        if !more.contains(&"--resp") {
            command.args(["--resp", "127.0.0.1:0"]);
        }
        Self::run(command.args(more))
    }

    /// Starts a command and waits until it listens.
    pub(crate) fn run(command: &mut Command) -> Self {
        let mut child = command.spawn().unwrap();
        let (lines, stdout) = gather(child.stdout.take().unwrap());
        let (_, stderr) = gather(child.stderr.take().unwrap());
        let mut http = None;
        let next =
            || lines.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("it did not start:\n{}", stderr.lock().unwrap()));
        loop {
            let line = next();
            let mut words = line.split_whitespace();
            match (words.next(), words.next()) {
                (Some("REST"), Some(url)) => http = url.rsplit("//").next().and_then(|at| at.parse().ok()),
                (Some("RESP"), Some(at)) => {
                    let (http, resp) = (http.expect("REST comes first"), at.parse().ok());
                    return Self { child, http, resp, stdout, stderr };
                }
                _ => {}
            }
        }
    }

    pub(crate) fn http(&self) -> Http {
        Http::connect(self.http, TOKEN)
    }

    /// A connection over RESP that has authenticated.
    pub(crate) fn resp(&self) -> Wire {
        let mut wire = self.raw_resp();
        assert_eq!(wire.run(&["AUTH", TOKEN]).unwrap(), Resp::Simple("OK".to_owned()));
        wire
    }

    pub(crate) fn raw_resp(&self) -> Wire {
        Wire::connect(self.resp.expect("RESP is on"))
    }

    /// What it has printed so far.
    pub(crate) fn printed(&self) -> String {
        self.stdout.lock().unwrap().clone()
    }

    /// What it has logged so far.
    pub(crate) fn logged(&self) -> String {
        self.stderr.lock().unwrap().clone()
    }

    pub(crate) fn signal(&self, name: &str) {
        let done = Command::new("sh").args(["-c", &format!("kill -{name} {}", self.child.id())]).status().unwrap();
        assert!(done.success());
    }

    /// Asks it to stop, and waits until it has.
    pub(crate) fn stop(&mut self, signal: &str) -> ExitStatus {
        self.signal(signal);
        wait(&mut self.child).unwrap_or_else(|| panic!("it did not stop:\n{}", self.logged()))
    }

    /// The most memory it has taken of the machine's so far.
    pub(crate) fn most_memory_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    }

    /// The end without warning.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it is still there.
    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Memory it really takes, in bytes.
    pub(crate) fn resident_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
    }
}

/// Waits for the end of a process.
pub(crate) fn wait(child: &mut Child) -> Option<ExitStatus> {
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until {
        if let Some(status) = child.try_wait().unwrap() {
            return Some(status);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    None
}

/// Runs a command that is expected to fail; what it wrote to both outputs.
pub(crate) fn refused(command: &mut Command) -> String {
    let mut child = command.spawn().unwrap();
    let status = wait(&mut child);
    if status.is_none() {
        child.kill().unwrap();
    }
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(status.is_some_and(|status| !status.success()), "it was expected to fail:\n{text}");
    text
}

/// Waits until something is so.
pub(crate) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < until, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A directory that goes away by itself, and the data directory to make in it.
pub(crate) fn directory() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    (dir, data)
}

pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

// --- REST --------------------------------------------------------------------------------------------------------------

/// A client of the REST door on one connection.
pub(crate) struct Http {
    stream: BufReader<TcpStream>,
    token: String,
}

#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Response {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&self.body)))
    }

    /// The text of its error.
    pub(crate) fn error(&self) -> String {
        self.json()["error"].as_str().unwrap_or_else(|| panic!("no error: {self:?}")).to_owned()
    }
}

impl Http {
    pub(crate) fn connect(address: SocketAddr, token: &str) -> Self {
        Self { stream: BufReader::new(connect(address)), token: token.to_owned() }
    }

    /// Sends one request with the client's token.
    pub(crate) fn send(&mut self, method: &str, path: &str, headers: &str, body: &[u8]) -> io::Result<Response> {
        let token = &self.token;
        let auth = if token.is_empty() { String::new() } else { format!("Authorization: Bearer {token}\r\n") };
        let length = body.len();
        let head = format!("{method} {path} HTTP/1.1\r\nHost: h\r\n{auth}{headers}Content-Length: {length}\r\n\r\n");
        self.stream.get_mut().write_all(&[head.as_bytes(), body].concat())?;
        self.receive(method == "HEAD")
    }

    /// Sends bytes as they are.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    pub(crate) fn socket(&mut self) -> &TcpStream {
        self.stream.get_mut()
    }

    /// Reads the head of a reply: status and headers.
    pub(crate) fn head(&mut self) -> io::Result<Response> {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            if self.stream.read_line(&mut line)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let line = line.trim_end().to_owned();
            if !line.is_empty() {
                lines.push(line);
            } else if lines.first().is_some_and(|line| line.contains(" 100 ")) {
                lines.clear();
            } else {
                break;
            }
        }
        let status =
            lines[0].split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or(io::ErrorKind::InvalidData)?;
        let split = |line: &String| line.split_once(": ").map(|(name, value)| (name.to_owned(), value.to_owned()));
        let headers = lines[1..].iter().filter_map(split).collect();
        Ok(Response { status, headers, body: Vec::new() })
    }

    /// Reads a reply that is not a stream.
    pub(crate) fn receive(&mut self, head_only: bool) -> io::Result<Response> {
        let mut response = self.head()?;
        let length = response.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        if !head_only {
            response.body = vec![0; length];
            self.stream.read_exact(&mut response.body)?;
        }
        Ok(response)
    }

    /// Reads one line of a stream of events that carries data; the length of its chunk is passed over.
    pub(crate) fn event(&mut self) -> io::Result<String> {
        loop {
            let mut line = String::new();
            if self.stream.read_line(&mut line)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if let Some(data) = line.strip_prefix("data: ") {
                return Ok(data.trim_end_matches('\n').to_owned());
            }
        }
    }

    pub(crate) fn post(&mut self, path: &str, body: impl AsRef<[u8]>) -> io::Result<Response> {
        self.send("POST", path, "", body.as_ref())
    }
}

// --- RESP --------------------------------------------------------------------------------------------------------------

/// A reply as RESP2 or RESP3 carries it; maps and sets are arrays with a name.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Resp {
    Simple(String),
    Error(String),
    Int(i64),
    Bulk(Vec<u8>),
    Double(String),
    Nil,
    Array(Vec<Resp>),
    Map(Vec<Resp>),
    Push(Vec<Resp>),
}

impl Resp {
    pub(crate) fn bulk(bytes: impl AsRef<[u8]>) -> Self {
        Self::Bulk(bytes.as_ref().to_vec())
    }

    pub(crate) fn ok() -> Self {
        Self::Simple("OK".to_owned())
    }

    /// Any text in it.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Simple(text) | Self::Error(text) | Self::Double(text) => text.clone(),
            Self::Bulk(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            Self::Int(number) => number.to_string(),
            Self::Nil => String::new(),
            Self::Array(items) | Self::Map(items) | Self::Push(items) => {
                items.iter().map(Self::text).collect::<Vec<_>>().join(" ")
            }
        }
    }

    pub(crate) fn items(&self) -> &[Self] {
        match self {
            Self::Array(items) | Self::Map(items) | Self::Push(items) => items,
            other => panic!("not an array: {other:?}"),
        }
    }

    pub(crate) fn number(&self) -> Option<u64> {
        match self {
            Self::Nil => None,
            other => Some(other.text().parse().unwrap_or_else(|_| panic!("not a number: {other:?}"))),
        }
    }

    pub(crate) const fn is_error(&self) -> bool {
        matches!(self, Self::Error(_))
    }
}

/// A client of the RESP door.
pub(crate) struct Wire {
    stream: BufReader<TcpStream>,
}

/// A command as an array of bulk strings.
pub(crate) fn encode<A: AsRef<[u8]>>(args: &[A]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", args.len()).into_bytes();
    for arg in args {
        out.extend(format!("${}\r\n", arg.as_ref().len()).as_bytes());
        out.extend(arg.as_ref());
        out.extend(b"\r\n");
    }
    out
}

impl Wire {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        Self::over(connect(address))
    }

    /// On a connection that is there.
    pub(crate) fn over(stream: TcpStream) -> Self {
        Self { stream: BufReader::new(stream) }
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    pub(crate) fn socket(&mut self) -> &TcpStream {
        self.stream.get_mut()
    }

    pub(crate) fn run<A: AsRef<[u8]>>(&mut self, args: &[A]) -> io::Result<Resp> {
        self.write(&encode(args))?;
        self.read()
    }

    /// Runs a command written as words.
    pub(crate) fn say(&mut self, line: &str) -> Resp {
        self.run(&line.split_whitespace().collect::<Vec<_>>()).unwrap()
    }

    /// Whether the server has closed the connection.
    pub(crate) fn is_closed(&mut self) -> bool {
        let mut byte = [0];
        match self.stream.read(&mut byte) {
            Ok(read) => read == 0,
            Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
        }
    }

    pub(crate) fn read(&mut self) -> io::Result<Resp> {
        let mut line = Vec::new();
        if self.stream.read_until(b'\n', &mut line)? == 0 || !line.ends_with(b"\r\n") {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let text = String::from_utf8_lossy(&line[1..line.len() - 2]).into_owned();
        let count = || text.parse::<i64>().map_err(|_| io::Error::from(io::ErrorKind::InvalidData));
        Ok(match line[0] {
            b'+' => Resp::Simple(text),
            b'-' => Resp::Error(text),
            b':' => Resp::Int(count()?),
            b',' => Resp::Double(text),
            b'_' => Resp::Nil,
            b'#' => Resp::Int(i64::from(text == "t")),
            b'$' | b'=' => match count()? {
                -1 => Resp::Nil,
                length => {
                    let mut bytes = vec![0; length as usize + 2];
                    self.stream.read_exact(&mut bytes)?;
                    bytes.truncate(length as usize);
                    Resp::Bulk(bytes)
                }
            },
            b'*' | b'~' if count()? < 0 => Resp::Nil,
            b'*' | b'~' => Resp::Array(self.several(count()?)?),
            b'>' => Resp::Push(self.several(count()?)?),
            b'%' => Resp::Map(self.several(2 * count()?)?),
            _ => return Err(io::ErrorKind::InvalidData.into()),
        })
    }

    fn several(&mut self, count: i64) -> io::Result<Vec<Resp>> {
        (0..count).map(|_| self.read()).collect()
    }
}

// --- either ------------------------------------------------------------------------------------------------------------

/// A client that does not care which door it uses.
pub(crate) enum Either {
    Rest(Http),
    Resp(Wire),
}

impl Either {
    pub(crate) fn run(&mut self, args: &[&str]) -> io::Result<Resp> {
        match self {
            Self::Resp(wire) => wire.run(args),
            Self::Rest(http) => Ok(from_json(&http.post("/", serde_json::to_vec(args)?)?.json())),
        }
    }

    /// Runs commands as one transaction.
    pub(crate) fn all(&mut self, commands: &[&[&str]]) -> io::Result<Resp> {
        match self {
            Self::Rest(http) => Ok(from_json(&http.post("/multi-exec", serde_json::to_vec(commands)?)?.json())),
            Self::Resp(wire) => {
                let mut bytes = encode(&["MULTI"]);
                bytes.extend(commands.iter().flat_map(|command| encode(command)));
                wire.write(&[bytes, encode(&["EXEC"])].concat())?;
                for _ in 0..=commands.len() {
                    wire.read()?;
                }
                wire.read()
            }
        }
    }
}

fn from_json(value: &Value) -> Resp {
    match value {
        Value::Null => Resp::Nil,
        Value::String(text) => Resp::bulk(text),
        Value::Array(items) => Resp::Array(items.iter().map(from_json).collect()),
        Value::Object(fields) => match (fields.get("result"), fields.get("error")) {
            (Some(result), None) => from_json(result),
            (None, Some(error)) => Resp::Error(error.as_str().unwrap().to_owned()),
            _ => panic!("neither a result nor an error: {value}"),
        },
        other => Resp::Int(other.as_i64().unwrap_or_else(|| panic!("{other}"))),
    }
}
