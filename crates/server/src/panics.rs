//! A panic ends the process, wherever it happens.
//!
//! A handler that panics leaves its database half changed, with memory ahead of the log: any later reply could show, and any
//! later record build on, what no restart finds. A panic in the housekeeper or under the log would leave a server that looks
//! alive and keeps nothing. The log has everything that was acknowledged, and a start reads it in moments; so the honest
//! answer to a bug of ours is to stop at once and let whoever supervises the process start it again. Nothing here may wait.

/// From now on a panic is logged and then ends the process, as `SIGABRT` does.
pub(crate) fn end_the_process() {
    std::panic::set_hook(Box::new(|panic| {
        tracing::error!("a bug in Dormouse, please report it: {panic}");
        tracing::error!("stopping without a checkpoint: the next start recovers everything acknowledged from the log");
        std::process::abort();
    }));
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::Command;

    const SIGABRT: i32 = 6;

    /// Run by the test below, in a process of its own.
    #[test]
    #[ignore = "it ends the process"]
    fn a_thread_panics() {
        super::end_the_process();
        let _ = std::thread::spawn(|| panic!("on purpose")).join();
    }

    #[test]
    fn a_panic_in_any_thread_ends_the_process() {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "panics::tests::a_thread_panics", "--ignored"])
            .output()
            .unwrap();
        assert_eq!(child.status.signal(), Some(SIGABRT), "{child:?}");
    }
}
