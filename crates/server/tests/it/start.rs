//! The first minute, and every later one: starting, stopping, and what is said when that is not possible.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::support::{Http, Resp, Server, TOKEN, directory, dormouse, eventually, refused, wait};

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// The value of a line such as `NAME="value"`.
fn line(text: &str, name: &str) -> String {
    let found = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    found.unwrap_or_else(|| panic!("no {name} in:\n{text}")).trim_matches('"').to_owned()
}

fn on(dir: &Path, more: &[&str]) -> Command {
    let mut command = dormouse();
    command.current_dir(dir).args(more);
    command
}

const ANY_PORTS: &[&str] = &["--http", "127.0.0.1:0", "--resp", "127.0.0.1:0"];

#[test]
fn it_starts_without_arguments_and_prints_what_to_paste() {
    let (dir, _) = directory();
    // The defaults may be taken on this machine; then it says so and takes others.
    let mut server = Server::run(&mut on(dir.path(), &[]));
    let printed = || server.printed();
    eventually("lines to paste", || printed().contains("REDIS_URL="));
    let printed = printed();
    let data = dir.path().join("dormouse-data");
    assert_eq!(mode(&data), 0o700, "other users have no business there");
    assert_eq!(mode(&data.join("credentials.env")), 0o600);
    assert_eq!(std::fs::read_to_string(data.join(".gitignore")).unwrap(), "*\n", "tokens stay out of repositories");
    let kept = std::fs::read_to_string(data.join("credentials.env")).unwrap();
    for name in ["UPSTASH_REDIS_REST_URL", "UPSTASH_REDIS_REST_TOKEN", "KV_REST_API_READ_ONLY_TOKEN", "REDIS_URL"] {
        assert_eq!(line(&printed, name), line(&kept, name));
    }
    assert_eq!(line(&kept, "UPSTASH_REDIS_REST_URL"), format!("http://{}", server.http));
    let mut http = Http::connect(server.http, &line(&kept, "UPSTASH_REDIS_REST_TOKEN"));
    assert_eq!(http.post("/", r#"["PING"]"#).unwrap().json()["result"], "PONG");
    assert!(server.stop("TERM").success());
}

#[test]
fn an_empty_volume_is_a_first_start() {
    let (dir, _) = directory();
    std::fs::create_dir(dir.path().join("dormouse-data")).unwrap();
    let server = Server::run(&mut on(dir.path(), ANY_PORTS));
    eventually("lines to paste", || server.printed().contains("REDIS_URL="));
    assert_eq!(mode(&dir.path().join("dormouse-data/log")), 0o700, "whoever made the volume");
}

#[test]
fn a_script_does_not_keep_a_server_that_is_to_stop() {
    let (dir, _) = directory();
    let mut server = Server::run(&mut on(dir.path(), &[ANY_PORTS, &["--token", "quite-a-token"]].concat()));
    let mut http = Http::connect(server.http, "quite-a-token");
    let asking = std::thread::spawn(move || {
        // The connection may be cut before the answer is out.
        drop(http.post("/", r#"["EVAL","redis.call('SET', 'half', 'done') while true do end","0"]"#));
    });
    std::thread::sleep(std::time::Duration::from_millis(300));
    let began = std::time::Instant::now();
    assert!(server.stop("INT").success(), "{}", server.logged());
    assert!(began.elapsed() < std::time::Duration::from_secs(30), "it would run for a minute");
    asking.join().unwrap();
    let server = Server::run(&mut on(dir.path(), &[ANY_PORTS, &["--token", "quite-a-token"]].concat()));
    let mut http = Http::connect(server.http, "quite-a-token");
    assert!(http.post("/", r#"["GET","half"]"#).unwrap().json()["result"].is_null(), "it is taken back");
}

#[test]
fn tokens_and_data_are_kept() {
    let (dir, _) = directory();
    let kept = dir.path().join("dormouse-data/credentials.env");
    let mut tokens = Vec::new();
    for signal in ["TERM", "INT", "TERM"] {
        let mut server = Server::run(&mut on(dir.path(), ANY_PORTS));
        let token = line(&std::fs::read_to_string(&kept).unwrap(), "UPSTASH_REDIS_REST_TOKEN");
        let mut http = Http::connect(server.http, &token);
        let sum = http.post("/", r#"["INCR","starts"]"#).unwrap().json()["result"].as_u64().unwrap();
        tokens.push(token.clone());
        assert_eq!(sum, tokens.len() as u64);
        assert!(sum == 1 || !server.printed().contains(&token), "secrets are shown once");
        let changed = server.printed().contains("have changed: paste it again");
        assert_eq!(changed, sum > 1, "the ports are others each time");
        assert!(server.stop(signal).success(), "{}", server.logged());
    }
    assert!(tokens.iter().all(|token| *token == tokens[0] && token.len() >= 32));
}

#[test]
fn a_chosen_token_replaces_the_kept_one() {
    let (_guard, data) = directory();
    let mut server = Server::start(&data, &[]);
    assert_eq!(server.resp().say("SET k v"), Resp::ok());
    server.stop("TERM");
    let mut command = dormouse();
    command.arg("--data").arg(&data).args(ANY_PORTS).args(["--token", "quite-another-token"]);
    let server = Server::run(&mut command);
    assert_eq!(Http::connect(server.http, TOKEN).post("/", r#"["PING"]"#).unwrap().status, 401);
    let mut http = Http::connect(server.http, "quite-another-token");
    assert_eq!(http.post("/", r#"["GET","k"]"#).unwrap().json()["result"], "v");
}

#[test]
fn a_taken_port_that_was_chosen_is_an_error() {
    let (_guard, data) = directory();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for (flag, other) in [("--http", "--resp"), ("--resp", "--http")] {
        let mut command = dormouse();
        command.arg("--data").arg(&data).args([flag, &address, other, "127.0.0.1:0"]);
        let text = refused(&mut command);
        assert!(text.contains(&format!("{address} is taken by another process")), "{text}");
    }
    assert!(!data.exists(), "nothing was begun");
}

#[test]
fn a_taken_default_port_is_stepped_around() {
    let (dir, _) = directory();
    // Taken by this test, or by somebody else already.
    let _taken = (TcpListener::bind("127.0.0.1:6379"), TcpListener::bind("127.0.0.1:8079"));
    let server = Server::run(&mut on(dir.path(), &[]));
    assert_ne!(server.resp.unwrap().port(), 6379);
    assert_ne!(server.http.port(), 8079);
    for port in ["127.0.0.1:6379", "127.0.0.1:8079"] {
        let said = format!("{port} is taken by another process: taking a free port instead");
        assert!(server.logged().contains(&said), "{}", server.logged());
    }
    let kept = std::fs::read_to_string(dir.path().join("dormouse-data/credentials.env")).unwrap();
    assert_eq!(line(&kept, "UPSTASH_REDIS_REST_URL"), format!("http://{}", server.http));
}

#[test]
fn resp_can_be_off_or_open() {
    let (_guard, data) = directory();
    let mut server = Server::start(&data, &["--resp", "off"]);
    assert!(server.resp.is_none());
    assert_eq!(server.http().post("/", r#"["PING"]"#).unwrap().status, 200);
    server.stop("TERM");
    let kept = std::fs::read_to_string(data.join("credentials.env")).unwrap();
    assert!(!kept.contains("REDIS_URL="), "{kept}");
    let server = Server::start(&data, &["--resp-open"]);
    assert_eq!(server.raw_resp().say("PING"), Resp::Simple("PONG".to_owned()));
    let text = refused(dormouse().arg("--data").arg(&data).args(["--resp", "0.0.0.0:0", "--resp-open"]));
    assert!(text.contains("--resp-open lets anybody in, so RESP must listen on a loopback address"), "{text}");
}

#[test]
fn settings_come_from_flags_environment_and_file() {
    let (dir, data) = directory();
    let file = dir.path().join("dormouse.toml");
    let text = format!(
        "data = {data:?}\nhttp = '127.0.0.1:0'\nresp = 'off'\ntoken = 'token-from-the-file'\nmemory = '64MiB'\n\
         durability = 'everysec'\ncheckpoint-bytes = '1MiB'\n"
    );
    std::fs::write(&file, text).unwrap();
    let ping =
        |server: &Server, token: &str| Http::connect(server.http, token).post("/", r#"["PING"]"#).unwrap().status;
    let mut server = Server::run(dormouse().arg("--config").arg(&file));
    assert!(server.resp.is_none());
    assert_eq!(ping(&server, "token-from-the-file"), 200);
    server.stop("TERM");
    let mut environment = dormouse();
    environment
        .env("DORMOUSE_CONFIG", &file)
        .env("DORMOUSE_TOKEN", "token-from-outside")
        .env("DORMOUSE_RESP", "127.0.0.1:0");
    let mut server = Server::run(&mut environment);
    assert!(server.resp.is_some());
    assert_eq!(ping(&server, "token-from-outside"), 200);
    server.stop("TERM");
    let server = Server::run(environment.args(["--token", "token-from-a-flag"]));
    assert_eq!(ping(&server, "token-from-a-flag"), 200);
    assert_eq!(ping(&server, "token-from-outside"), 401);
    std::fs::write(&file, "colour = 'brown'").unwrap();
    assert!(refused(dormouse().arg("--config").arg(&file)).contains("colour"));
    assert!(refused(dormouse().args(["--config", "/nowhere/at/all.toml"])).contains("/nowhere/at/all.toml"));
}

#[test]
fn one_process_at_a_time_uses_a_directory() {
    let (_guard, data) = directory();
    let server = Server::start(&data, &[]);
    let before = std::fs::read_to_string(data.join("credentials.env")).unwrap();
    let text = refused(dormouse().arg("--data").arg(&data).args(ANY_PORTS));
    assert!(text.contains("use") && text.contains(data.to_str().unwrap()), "{text}");
    assert!(!text.contains("panicked"), "{text}");
    assert_eq!(std::fs::read_to_string(data.join("credentials.env")).unwrap(), before);
    assert_eq!(server.resp().say("PING"), Resp::Simple("PONG".to_owned()));
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    let (_guard, data) = directory();
    for (more, part) in [
        (&["--token", "short"][..], "a token needs at least 8 characters"),
        (&["--token", "with a space"], "without spaces"),
        (&["--token", "the-same-token", "--read-only-token", "the-same-token"], "must differ"),
        (&["--http", "nowhere"], "not an address"),
        (&["--memory", "plenty"], "--memory"),
        (&["--durability", "sometimes"], "always, everysec, none"),
        (&["--no-such-flag"], "--no-such-flag"),
        (&["no-such-command"], "no-such-command"),
    ] {
        let mut command = dormouse();
        command.arg("--data").arg(&data);
        if !more.contains(&"--http") {
            command.args(["--http", "127.0.0.1:0"]);
        }
        let text = refused(command.args(["--resp", "127.0.0.1:0"]).args(more));
        assert!(text.contains(part), "{more:?}: {text}");
        assert!(!text.contains("panicked"), "{text}");
    }
}

#[test]
fn a_directory_that_cannot_be_used_is_named() {
    let (dir, _) = directory();
    let file = dir.path().join("a-file");
    std::fs::write(&file, "x").unwrap();
    let text = refused(dormouse().arg("--data").arg(&file).args(ANY_PORTS));
    assert!(text.contains("a-file"), "{text}");
    let text = refused(dormouse().arg("--data").arg(file.join("below")).args(ANY_PORTS));
    assert!(text.contains("a-file"), "{text}");
}

#[test]
fn help_mentions_every_flag() {
    let help = |flag: &str| {
        let child = dormouse().arg(flag).spawn().unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap()
    };
    let long = help("--help");
    for flag in [
        "--data",
        "--http",
        "--resp",
        "--resp-open",
        "--token",
        "--read-only-token",
        "--memory",
        "--durability",
        "--config",
        "--checkpoint-bytes",
        "--help",
        "--version",
    ] {
        assert!(long.contains(flag), "{flag}");
    }
    assert!(!help("-h").contains("--checkpoint-bytes"), "advanced settings are for those who look closer");
    assert!(help("--version").starts_with("dormouse "));
}

#[test]
fn health_needs_no_token_and_tells_nothing() {
    let (_guard, data) = directory();
    let server = Server::start(&data, &[]);
    let mut http = Http::connect(server.http, "");
    for method in ["GET", "HEAD"] {
        assert_eq!(http.send(method, "/health", "", b"").unwrap().status, 200);
    }
    let response = http.send("GET", "/health", "", b"").unwrap();
    assert_eq!(response.json(), serde_json::json!({"status": "ok"}));
    assert_eq!(response.header("content-type"), Some("application/json"));
}

#[test]
fn a_second_signal_changes_nothing() {
    let (_guard, data) = directory();
    let mut server = Server::start(&data, &[]);
    let mut wire = server.resp();
    assert_eq!(wire.say("SET k v"), Resp::ok());
    server.signal("TERM");
    server.signal("INT");
    eventually("it ends", || !server.is_running());
    let server = Server::start(&data, &[]);
    assert_eq!(server.resp().say("GET k"), Resp::bulk("v"));
}

#[test]
fn idle_clients_do_not_hold_up_a_stop() {
    let (_guard, data) = directory();
    let mut server = Server::start(&data, &[]);
    let (mut idle, mut blocked, mut listening) = (server.resp(), server.resp(), server.http());
    idle.say("PING");
    blocked.write(&crate::support::encode(&["BLPOP", "q", "0"])).unwrap();
    listening
        .write(
            format!(
                "POST /subscribe/c HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: 0\r\n\r\n"
            )
            .as_bytes(),
        )
        .unwrap();
    assert_eq!(listening.head().unwrap().status, 200);
    let mut alive = server.http();
    assert_eq!(alive.post("/", r#"["PING"]"#).unwrap().status, 200);
    let since = std::time::Instant::now();
    assert!(server.stop("TERM").success());
    assert!(since.elapsed().as_secs() < 3, "{:?}", since.elapsed());
    assert!(idle.is_closed() && blocked.is_closed());
}

#[test]
fn a_process_that_cannot_print_still_ends_well() {
    let (_guard, data) = directory();
    let mut child = dormouse().arg("--data").arg(&data).args(ANY_PORTS).spawn().unwrap();
    // Whoever read its output has gone.
    drop(child.stdout.take());
    drop(child.stderr.take());
    std::thread::sleep(std::time::Duration::from_millis(300));
    Command::new("sh").args(["-c", &format!("kill -TERM {}", child.id())]).status().unwrap();
    assert!(wait(&mut child).unwrap().success());
}
