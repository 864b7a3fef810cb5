//! Commands over RESP: however the bytes are cut, the same commands and the same error come out, and a command that is
//! written again is found again.
#![no_main]

use dormouse_proto::resp::{Limits, Parsed, Parser, encode_command};
use libfuzzer_sys::fuzz_target;

type Outcome = (Vec<Vec<Vec<u8>>>, Option<String>);

fn feed(stream: &[u8], limits: &Limits, step: usize) -> Outcome {
    let mut parser = Parser::new(limits.clone());
    let mut commands = Vec::new();
    let (mut start, mut end) = (0, 0);
    loop {
        match parser.parse(&stream[start..end]) {
            Ok(Parsed::Incomplete { more }) => {
                assert!(more > 0);
                if end == stream.len() {
                    return (commands, None);
                }
                end = stream.len().min(end + step);
            }
            Ok(Parsed::Skip { consumed }) => {
                assert!(consumed > 0);
                start += consumed;
            }
            Ok(Parsed::Complete { consumed }) => {
                assert!(consumed > 0);
                let buf = &stream[start..end];
                let args: Vec<_> = parser.args(buf).map(<[u8]>::to_vec).collect();
                assert!(!args.is_empty());
                parser.with_args(buf, |borrowed| assert_eq!(borrowed, args));
                commands.push(args);
                start += consumed;
            }
            Err(error) => return (commands, Some(error.to_string())),
        }
    }
}

fuzz_target!(|stream: &[u8]| {
    let limits = Limits {
        inline_bytes_max: 32,
        request_bytes_max: 200,
        authenticated: stream.len() % 2 == 0,
        ..Limits::default()
    };
    let whole = feed(stream, &limits, stream.len().max(1));
    assert_eq!(feed(stream, &limits, 1), whole);
    assert_eq!(feed(stream, &limits, 5), whole);

    let mut written = Vec::new();
    for command in &whole.0 {
        encode_command(command.iter().map(Vec::as_slice), &mut written);
    }
    let again = feed(&written, &Limits::default(), written.len().max(1));
    assert_eq!(again, (whole.0, None));
});
