//! What only a real server shows: bytes of all kinds, exact numbers, atomicity, permissions.

use std::collections::{BTreeMap, HashMap};
use std::future::IntoFuture;
use std::time::Duration;

use bytes::Bytes;
use dormouse_client::{
    Client, Error, GroupStart, Json, ReadOptions, ScanOptions, Script, SetOptions, TestServer, Ttl, Value,
};

#[tokio::test]
async fn all_bytes_survive_everywhere() {
    let server = TestServer::start().unwrap();
    let client = server.client();
    let all: Vec<u8> = (0..=255).collect();
    let odd = [&b"\xff\x00"[..], &all].concat();
    // The path form with a body, with a query; RESP where neither has room.
    client.set("plain", &all).await.unwrap();
    client.set(&odd, &all).await.unwrap();
    assert!(client.set_with(&odd, &odd, SetOptions::new().expires_in(Duration::from_mins(1))).await.unwrap());
    assert!(!client.set_with("plain", &odd, SetOptions::new().nx()).await.unwrap());
    client.set("..", &odd).await.unwrap();
    client.set("", &odd).await.unwrap();
    client.set(vec![b'k'; 9_000], &odd).await.unwrap();
    for key in [&b".."[..], b"", &[b'k'; 9_000], &odd] {
        assert_eq!(client.get_bytes(key).await.unwrap().as_deref(), Some(&odd[..]));
    }
    assert_eq!(client.get_bytes("plain").await.unwrap().as_deref(), Some(&all[..]));
    let large = Bytes::from(vec![0xff; 3 << 20]);
    client.hset("h", (&odd, &large)).await.unwrap();
    let map: HashMap<Bytes, Bytes> = client.hgetall("h").await.unwrap();
    assert_eq!(map[&odd[..]], large);
    let (set, got) = client.pipeline((client.set("p", &odd), client.get_bytes(&odd))).all().await.unwrap();
    assert_eq!((set, got.as_deref()), ((), Some(&odd[..])));
    let (length, got) = client.transaction((client.append("p", &odd), client.get_bytes("p"))).all().await.unwrap();
    assert_eq!((length as usize, got.unwrap().len()), (2 * odd.len(), 2 * odd.len()));
    let auto = client.auto_pipeline();
    let (one, two) = tokio::join!(auto.rpush("l", [&odd, &all]).send(), auto.get_bytes(&odd).send());
    assert_eq!((one.unwrap(), two.unwrap().as_deref()), (2, Some(&odd[..])));
    assert_eq!(client.lrange::<Bytes>("l", 0, -1).await.unwrap(), [&odd[..], &all]);
}

#[tokio::test]
async fn numbers_are_exact() {
    let server = TestServer::start().unwrap();
    let client = server.client();
    for number in [i64::MAX, i64::MIN, (1 << 53) + 1, -1, 0] {
        client.set("n", number).await.unwrap();
        assert_eq!(client.get::<i64>("n").await.unwrap(), Some(number));
        assert_eq!(client.incrby("n", 0).await.unwrap(), number);
    }
    client.set("n", u64::MAX).await.unwrap();
    assert_eq!(client.get::<u64>("n").await.unwrap(), Some(u64::MAX));
    client.zadd("z", [(0.1 + 0.2, "a"), (f64::INFINITY, "b"), (1e300, "c")]).await.unwrap();
    assert_eq!(
        client.zmscore("z", ["a", "b", "c"]).await.unwrap(),
        [Some(0.1 + 0.2), Some(f64::INFINITY), Some(1e300)]
    );
}

#[tokio::test]
async fn types_do_not_guess() {
    let server = TestServer::start().unwrap();
    let client = server.client();
    client.set("k", "007").await.unwrap();
    assert_eq!(client.get::<String>("k").await.unwrap().as_deref(), Some("007"));
    assert_eq!(client.get::<u16>("k").await.unwrap(), Some(7));
    client.set("k", "OK").await.unwrap();
    assert_eq!(client.get::<String>("k").await.unwrap().as_deref(), Some("OK"));
    client.set("k", b"\xff").await.unwrap();
    let error = client.get::<String>("k").await.unwrap_err();
    assert_eq!(error.to_string(), "GET answered bytes that are not UTF-8 where text was expected");
    client.set_json("k", &BTreeMap::from([("a", Some(1)), ("b", None)])).await.unwrap();
    let map: BTreeMap<String, Option<i32>> = client.get_json("k").await.unwrap().unwrap();
    assert_eq!(map["b"], None);
    assert!(client.set_json("k", &HashMap::from([((1, 2), 3)])).await.is_err());
    let odd: HashMap<String, Json<Vec<u8>>> = client.hgetall("missing").await.unwrap();
    assert!(odd.is_empty());
}

#[tokio::test]
async fn each_of_a_pipeline_stands_for_itself_and_a_transaction_for_all() {
    let server = TestServer::start().unwrap();
    let client = server.client();
    let wrong = || client.command::<Value>(["NOSUCH"]);
    let (one, two, three) = client.pipeline((client.incr("n"), wrong(), client.incr("n"))).await.unwrap();
    assert_eq!((one.unwrap(), three.unwrap()), (1, 2));
    assert_eq!(two.unwrap_err().code(), Some("ERR"));
    let error = client.transaction((client.incr("n"), wrong())).await.unwrap_err();
    assert!(matches!(error, Error::Server(_)), "{error:?}");
    assert_eq!(client.get::<i64>("n").await.unwrap(), Some(2), "nothing of it has run");
    let nested = (Some(client.incr("n")), None::<dormouse_client::Command<()>>, vec![client.ttl("n"), client.ttl("x")]);
    let (some, none, ttls) = client.transaction(nested).all().await.unwrap();
    assert_eq!((some, none, ttls), (Some(3), None, vec![Ttl::Persistent, Ttl::Missing]));
    let many = (0..1_000).map(|at| client.rpush("many", at)).collect::<Vec<_>>();
    assert_eq!(client.pipeline(many).all().await.unwrap().last(), Some(&1_000));
    let faulty = client.set("k", Json(HashMap::from([((1, 2), 3)])));
    assert!(client.pipeline((client.incr("n"), faulty)).await.is_err());
    assert_eq!(client.get::<i64>("n").await.unwrap(), Some(3), "it was not sent");
}

#[tokio::test]
async fn writes_under_a_key_run_once() {
    let server = TestServer::start().unwrap();
    let client = server.client();
    for _ in 0..3 {
        assert_eq!(client.incr("n").idempotency_key("one").await.unwrap(), 1);
        let both = client.pipeline((client.incr("a"), client.incr("b"))).idempotency_key("two").all().await.unwrap();
        assert_eq!(both, (1, 1));
        client.set("bytes", b"\xff").idempotency_key("three").await.unwrap();
        client.pipeline([client.append("bytes", b"\xfe")]).idempotency_key("four").all().await.unwrap();
    }
    assert_eq!(client.strlen("bytes").await.unwrap(), 2);
    let each = Client::builder(server.url(), server.token()).idempotent_writes(true).build().unwrap();
    assert_eq!((each.incr("n").await.unwrap(), each.incr("n").await.unwrap()), (2, 3));
}

#[tokio::test]
async fn scripts_run_by_their_hash() {
    let server = TestServer::start().unwrap();
    let client = server.client();
    let script = Script::new("return {KEYS[1], ARGV[1], 9007199254740993}");
    for _ in 0..2 {
        let reply: (String, Bytes, i64) = script.key("k").arg(b"\xff").run(&client).await.unwrap();
        assert_eq!((reply.0.as_str(), &reply.1[..]), ("k", &b"\xff"[..]));
    }
    assert_eq!(client.script_exists(script.hash()).await.unwrap(), [true]);
    client.script_flush().await.unwrap();
    let auto = client.auto_pipeline();
    let sum = Script::read_only("return ARGV[1] + ARGV[2]");
    let (one, two) =
        tokio::join!(sum.arg([1, 2]).run::<i64>(&auto).into_future(), sum.arg([3, 4]).run::<i64>(&auto).into_future());
    assert_eq!((one.unwrap(), two.unwrap()), (3, 7));
}

#[tokio::test]
async fn a_reading_token_reads() {
    let server = TestServer::start().unwrap();
    server.client().set("k", "v").await.unwrap();
    let reader = Client::new(server.url(), server.read_only_token()).unwrap();
    assert_eq!(reader.get::<String>("k").await.unwrap().as_deref(), Some("v"));
    assert_eq!(reader.set("k", "w").await.unwrap_err().code(), Some("NOPERM"));
    let nobody = Client::new(server.url(), "no-such-token").unwrap();
    assert_eq!(nobody.ping().await.unwrap_err().kind(), "auth");
}

#[tokio::test]
async fn commands_wait_when_they_are_asked_to() {
    let server = TestServer::start().unwrap();
    let client = server.client();
    let other = client.clone();
    let pushed = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(50)).await;
        other.rpush("jobs", "one").await
    });
    // The wait is the server's: it does not count against the client's own patience.
    let patience = Duration::from_millis(20);
    let waiter = Client::builder(server.url(), server.token()).timeout(patience).build().unwrap();
    let job: Option<(String, String)> = waiter.blpop("jobs", Duration::from_secs(10)).await.unwrap();
    assert_eq!(job, Some(("jobs".to_owned(), "one".to_owned())));
    pushed.await.unwrap().unwrap();
    client.xgroup_create("log", "g", GroupStart::New, true).await.unwrap();
    let options = ReadOptions::new().block(Duration::from_millis(30));
    assert!(client.xreadgroup("g", "me", &[("log", ">")], options).await.unwrap().is_empty());
}

#[tokio::test]
async fn scans_come_to_an_end() {
    let server = TestServer::start().unwrap();
    let client = server.client();
    client.mset((0..500).map(|at| (format!("k{at}"), at)).collect::<Vec<_>>()).await.unwrap();
    let (mut cursor, mut found) = ("0".to_owned(), std::collections::BTreeSet::new());
    loop {
        let page = client.scan::<String>(&cursor, ScanOptions::new().matching("k*").count(50)).await.unwrap();
        found.extend(page.items);
        cursor = page.cursor;
        if cursor == "0" {
            break;
        }
    }
    assert_eq!(found.len(), 500);
}

#[tokio::test]
async fn two_servers_have_nothing_in_common() {
    let servers = [TestServer::start().unwrap(), TestServer::start().unwrap()];
    let [one, two] = servers.each_ref().map(TestServer::client);
    one.set("k", 1).await.unwrap();
    assert_eq!(two.get::<i64>("k").await.unwrap(), None);
    assert_ne!(servers[0].token(), servers[1].token());
}
