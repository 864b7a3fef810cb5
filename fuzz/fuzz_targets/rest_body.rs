//! Commands as JSON, with serde as the judge of what is JSON and what its strings hold.
#![no_main]

use dormouse_proto::rest::{Limits, parse_command, parse_pipeline};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

/// The strings of a command in our terms; numbers are kept as written, which serde does not do. `None`: no command.
fn judged(value: &Value) -> Option<Vec<Option<&str>>> {
    let items = value.as_array()?;
    items.first()?.as_str()?;
    let scalar = |item| match item {
        &Value::String(ref text) => Some(Some(&**text)),
        Value::Number(_) => Some(None),
        Value::Bool(value) => Some(Some(if *value { "true" } else { "false" })),
        _ => None,
    };
    items.iter().map(scalar).collect()
}

fn same(args: &[&[u8]], judged: &[Option<&str>]) {
    assert_eq!(args.len(), judged.len());
    for (arg, judged) in args.iter().zip(judged) {
        match judged {
            Some(text) => assert_eq!(*arg, text.as_bytes()),
            None => assert!(serde_json::from_slice::<serde_json::Number>(arg).is_ok()),
        }
    }
}

/// Where we take more than serde: half a surrogate pair, and numbers beyond a double.
fn beyond_serde(error: &serde_json::Error) -> bool {
    let text = error.to_string();
    [
        "surrogate",
        "unexpected end of hex escape",
        "number out of range",
    ]
    .iter()
    .any(|part| text.contains(part))
}

fuzz_target!(|body: &[u8]| {
    let limits = Limits::default();
    let (mut one, mut many) = (Vec::new(), Vec::new());
    let command = parse_command(body, &mut one, &limits);
    let pipeline = parse_pipeline(body, &mut many, &limits);
    for error in command
        .as_ref()
        .err()
        .into_iter()
        .chain(pipeline.as_ref().err())
    {
        assert!(error.to_string().starts_with("ERR "));
    }
    let value = match serde_json::from_slice::<Value>(body) {
        Ok(value) => value,
        Err(error) => {
            let refused = command.is_err() && pipeline.is_err();
            assert!(refused || beyond_serde(&error), "{error}");
            return;
        }
    };
    match (command, judged(&value)) {
        (Ok(args), Some(judged)) => same(&args, &judged),
        (command, judged) => assert_eq!(command.is_ok(), judged.is_some()),
    }
    let judged: Option<Vec<_>> = value
        .as_array()
        .and_then(|all| all.iter().map(judged).collect());
    match (pipeline, judged) {
        (Ok(commands), Some(judged)) => {
            assert_eq!(commands.len(), judged.len());
            for (args, judged) in commands.iter().zip(&judged) {
                same(args, judged);
            }
        }
        (pipeline, judged) => assert_eq!(pipeline.is_ok(), judged.is_some()),
    }
});
