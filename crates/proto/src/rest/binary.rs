//! Commands as RESP in the body of a request, for what JSON has no room for: arguments that are not text.
//!
//! A body that begins with `*` is commands as a connection would send them, one behind the other. No JSON array begins so, and an
//! endpoint that knows JSON alone refuses such a body: nobody takes it for something else. Lengths are looked at before they
//! are believed, and arguments are borrowed from where they stand.

use super::body::{BodyError, Limits};

/// Whether a body is of this kind.
pub(super) fn is_binary(body: &[u8]) -> bool {
    body.first() == Some(&b'*')
}

/// Reads one command from a place on, behind the arguments there are; where the next one begins.
pub(super) fn command<'a>(
    body: &'a [u8],
    at: usize,
    limits: &Limits,
    args: &mut Vec<&'a [u8]>,
) -> Result<usize, BodyError> {
    let (count, mut at) = number(body, at, b'*')?;
    if count == 0 {
        return Err(BodyError::EmptyCommand);
    }
    if count > limits.args_max {
        return Err(BodyError::TooManyArguments(limits.args_max));
    }
    for _ in 0..count {
        let (length, start) = number(body, at, b'$')?;
        let end = start.checked_add(length).filter(|end| *end <= body.len());
        let end = end.ok_or(BodyError::Resp { at: start, what: "it ends too early" })?;
        args.push(&body[start..end]);
        at = line_end(body, end)?;
    }
    Ok(at)
}

/// Reads a mark, a number, and the end of their line; where the next line begins.
fn number(body: &[u8], at: usize, mark: u8) -> Result<(usize, usize), BodyError> {
    // Twenty digits are more than any length has.
    const DIGITS_MAX: usize = 20;
    if body.get(at) != Some(&mark) {
        let what = if mark == b'*' { "expected '*'" } else { "expected '$'" };
        return Err(BodyError::Resp { at, what });
    }
    let rest = &body[at + 1..];
    let digits = rest.iter().take(DIGITS_MAX).take_while(|byte| byte.is_ascii_digit()).count();
    let text = std::str::from_utf8(&rest[..digits]).unwrap_or_default();
    let number = text.parse().map_err(|_| BodyError::Resp { at: at + 1, what: "expected a length" })?;
    Ok((number, line_end(body, at + 1 + digits)?))
}

fn line_end(body: &[u8], at: usize) -> Result<usize, BodyError> {
    if body.get(at..).is_some_and(|rest| rest.starts_with(b"\r\n")) {
        return Ok(at + 2);
    }
    Err(BodyError::Resp { at, what: "expected the end of a line" })
}

#[cfg(test)]
mod tests {
    use crate::rest::{Limits, parse_command, parse_pipeline};

    fn error(body: &[u8]) -> String {
        let limits = Limits { args_max: 3, commands_max: 2 };
        parse_pipeline(body, &mut Vec::new(), &limits).unwrap_err().to_string()
    }

    #[test]
    fn all_bytes_can_be_arguments() {
        let body = b"*3\r\n$3\r\nSET\r\n$0\r\n\r\n$4\r\n\xff\r\n\x00\r\n";
        let mut scratch = Vec::new();
        let args = parse_command(body, &mut scratch, &Limits::default()).unwrap();
        assert_eq!(args, [&b"SET"[..], b"", b"\xff\r\n\x00"]);
        let twice = [&body[..], b"*1\r\n$4\r\nPING\r\n"].concat();
        let commands = parse_pipeline(&twice, &mut scratch, &Limits::default()).unwrap();
        assert_eq!((commands.len(), commands.get(1)), (2, Some(&[&b"PING"[..]][..])));
        assert!(parse_command(&twice, &mut Vec::new(), &Limits::default()).is_err());
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        for (body, text) in [
            (
                &b"*"[..],
                "ERR invalid RESP in the request body at byte 1: expected a length (command 1 of the pipeline)",
            ),
            (
                b"*1\r\n$4\r\nPI",
                "ERR invalid RESP in the request body at byte 8: it ends too early (command 1 of the pipeline)",
            ),
            (
                b"*1\r\n:4\r\n",
                "ERR invalid RESP in the request body at byte 4: expected '$' (command 1 of the pipeline)",
            ),
            (
                b"*1\r\n$1\r\nPP\r\n",
                "ERR invalid RESP in the request body at byte 9: expected the end of a line (command 1 of the pipeline)",
            ),
            (
                b"*1\r\n$99999999999999999999\r\n",
                "ERR invalid RESP in the request body at byte 5: expected a length (command 1 of the pipeline)",
            ),
            (
                b"*1\r\n$18446744073709551615\r\n",
                "ERR invalid RESP in the request body at byte 27: it ends too early (command 1 of the pipeline)",
            ),
            (b"*0\r\n", "ERR empty command (command 1 of the pipeline)"),
            (b"*4\r\n", "ERR too many arguments in one command, at most 3 are allowed (command 1 of the pipeline)"),
            (
                b"*1\r\n$1\r\nP\r\nPING",
                "ERR invalid RESP in the request body at byte 11: expected '*' (command 2 of the pipeline)",
            ),
        ] {
            assert_eq!(error(body), text, "{}", body.escape_ascii());
        }
        let ping = b"*1\r\n$4\r\nPING\r\n";
        assert_eq!(error(&ping.repeat(3)), "ERR too many commands in one request, at most 2 are allowed");
    }
}
