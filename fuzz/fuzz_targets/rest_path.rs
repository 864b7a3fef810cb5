//! Commands as URLs: nothing fails but the number of arguments, the token stays out, and decoding never makes text longer.
#![no_main]

use dormouse_proto::rest::{parse_path, token_in_query};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|url: &[u8]| {
    let mut halves = url.splitn(2, |&byte| byte == b'?');
    let path = halves.next().unwrap_or_default();
    let query = halves.next();
    let Ok(command) = parse_path(path, query, 100) else {
        assert!(url.len() >= 100);
        return;
    };
    assert_eq!(command.token, query.and_then(token_in_query));
    let args = command.args(b"the body");
    assert!(args.len() <= 101);
    assert_eq!(args[command.segments.len()], b"the body");
    let bytes: usize = args.iter().map(|arg| arg.len()).sum();
    assert!(bytes <= url.len() + b"the body".len());

    // What is percent-encoded throughout comes back as it was.
    let encoded: String = command
        .segments
        .iter()
        .map(|segment| {
            let hex: String = segment.iter().map(|byte| format!("%{byte:02x}")).collect();
            format!("/{hex}")
        })
        .collect();
    let closed = format!("{encoded}/");
    let again = parse_path(closed.as_bytes(), None, 100).unwrap();
    let leading_empty = command
        .segments
        .first()
        .is_some_and(|first| first.is_empty());
    assert!(leading_empty || again.segments == command.segments);
});
