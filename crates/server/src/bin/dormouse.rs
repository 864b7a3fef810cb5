//! The program `dormouse`; all of it is in the library, which tests start servers from, too.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    dormouse_server::main()
}
