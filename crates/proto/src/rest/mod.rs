//! REST: commands as JSON bodies or URL paths, replies as JSON.
//!
//! Bodies are scanned in one pass and their strings borrowed wherever they stand; replies are written straight into the
//! buffer that leaves. The shapes are the ones that deployed SDKs decode, down to which strings may stay unencoded, so
//! this module must never send a JSON boolean, fraction or object inside a result. It knows neither HTTP nor routes:
//! whoever owns those splits the URL and reads the body.

mod binary;
mod body;
mod json;
mod path;
mod scan;

pub use body::{BodyError, Limits, Pipeline, parse_command, parse_pipeline};
pub use json::{Encoding, encode_json, encode_json_list, write_json_string};
pub use path::{PathCommand, PathError, parse_path, token_in_query};
