//! Scripts and functions as commands. [`Script`](crate::Script) sees to hashes and to scripts the server has forgotten.

use bytes::Bytes;

use crate::args::{ToArg, ToArgs};
use crate::client::Client;
use crate::command::Command;
use crate::value::{FromValue, Value};

impl Client {
    /// Runs a script.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// let sum: i64 = client.eval("return ARGV[1] + ARGV[2]", (), [1, 2]).await?;
    /// assert_eq!(sum, 3);
    /// # Ok(()) });
    /// ```
    pub fn eval<T: FromValue>(&self, script: impl ToArg, keys: impl ToArgs, args: impl ToArgs) -> Command<T> {
        self.write("EVAL").arg(script).counted(keys).arg(args)
    }

    /// Runs a script that may not write.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// let found: Option<String> = client.eval_ro("return redis.call('GET', KEYS[1])", "k", ()).await?;
    /// assert_eq!(found, None);
    /// # Ok(()) });
    /// ```
    pub fn eval_ro<T: FromValue>(&self, script: impl ToArg, keys: impl ToArgs, args: impl ToArgs) -> Command<T> {
        self.read("EVAL_RO").arg(script).counted(keys).arg(args)
    }

    /// Runs a script that the server keeps under its SHA-1.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// let sha = client.script_load("return 1").await?;
    /// assert_eq!(client.evalsha::<i64>(sha, (), ()).await?, 1);
    /// # Ok(()) });
    /// ```
    pub fn evalsha<T: FromValue>(&self, sha: impl ToArg, keys: impl ToArgs, args: impl ToArgs) -> Command<T> {
        self.write("EVALSHA").arg(sha).counted(keys).arg(args)
    }

    /// Runs a script that the server keeps, and that may not write.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// let sha = client.script_load("return 1").await?;
    /// assert_eq!(client.evalsha_ro::<i64>(sha, (), ()).await?, 1);
    /// # Ok(()) });
    /// ```
    pub fn evalsha_ro<T: FromValue>(&self, sha: impl ToArg, keys: impl ToArgs, args: impl ToArgs) -> Command<T> {
        self.read("EVALSHA_RO").arg(sha).counted(keys).arg(args)
    }

    /// Has the server keep a script; its SHA-1.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// assert_eq!(client.script_load("return 1").await?, "e0e1f9fabfc9d4800c877a703b823ac0578ff8db");
    /// # Ok(()) });
    /// ```
    pub fn script_load(&self, script: impl ToArg) -> Command<String> {
        self.write("SCRIPT LOAD").arg(script)
    }

    /// Whether the server keeps scripts.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// assert_eq!(client.script_exists(["0000000000000000000000000000000000000000"]).await?, [false]);
    /// # Ok(()) });
    /// ```
    pub fn script_exists(&self, shas: impl ToArgs) -> Command<Vec<bool>> {
        self.read("SCRIPT EXISTS").arg(shas)
    }

    /// Has the server forget all scripts.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// client.script_flush().await?;
    /// # Ok(()) });
    /// ```
    pub fn script_flush(&self) -> Command<()> {
        self.write("SCRIPT FLUSH")
    }

    /// Ends the script that holds the database.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// assert_eq!(client.script_kill().await.unwrap_err().code(), Some("NOTBUSY"));
    /// # Ok(()) });
    /// ```
    pub fn script_kill(&self) -> Command<()> {
        self.write("SCRIPT KILL")
    }

    /// Calls a function.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// client.function_load("#!lua name=lib\nredis.register_function('one', function() return 1 end)", true).await?;
    /// assert_eq!(client.fcall::<i64>("one", (), ()).await?, 1);
    /// # Ok(()) });
    /// ```
    pub fn fcall<T: FromValue>(&self, function: impl ToArg, keys: impl ToArgs, args: impl ToArgs) -> Command<T> {
        self.write("FCALL").arg(function).counted(keys).arg(args)
    }

    /// Calls a function that may not write.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// let error = client.fcall_ro::<i64>("none", (), ()).await.unwrap_err();
    /// assert_eq!(error.code(), Some("ERR"));
    /// # Ok(()) });
    /// ```
    pub fn fcall_ro<T: FromValue>(&self, function: impl ToArg, keys: impl ToArgs, args: impl ToArgs) -> Command<T> {
        self.read("FCALL_RO").arg(function).counted(keys).arg(args)
    }

    /// Keeps a library of functions, in place of one of that name if so asked; its name.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// let library = "#!lua name=lib\nredis.register_function('one', function() return 1 end)";
    /// assert_eq!(client.function_load(library, false).await?, "lib");
    /// # Ok(()) });
    /// ```
    pub fn function_load(&self, library: impl ToArg, replace: bool) -> Command<String> {
        self.write("FUNCTION LOAD").arg(replace.then_some("REPLACE")).arg(library)
    }

    /// Forgets a library.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// assert!(client.function_delete("lib").await.is_err());
    /// # Ok(()) });
    /// ```
    pub fn function_delete(&self, library: impl ToArg) -> Command<()> {
        self.write("FUNCTION DELETE").arg(library)
    }

    /// Forgets all libraries.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// client.function_flush().await?;
    /// # Ok(()) });
    /// ```
    pub fn function_flush(&self) -> Command<()> {
        self.write("FUNCTION FLUSH")
    }

    /// The libraries and their functions as the server lists them; some of them with a pattern.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// assert_eq!(client.function_list(None, false).await?.len(), 0);
    /// # Ok(()) });
    /// ```
    pub fn function_list(&self, pattern: Option<&str>, with_code: bool) -> Command<Vec<Value>> {
        let command = self.read("FUNCTION LIST").arg(pattern.map(|pattern| ("LIBRARYNAME", pattern)));
        command.arg(with_code.then_some("WITHCODE"))
    }

    /// The function at work, and how many there are, as the server lists them.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// client.function_stats().await?;
    /// # Ok(()) });
    /// ```
    pub fn function_stats(&self) -> Command<Value> {
        self.read("FUNCTION STATS")
    }

    /// Ends the function that holds the database.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// assert_eq!(client.function_kill().await.unwrap_err().code(), Some("NOTBUSY"));
    /// # Ok(()) });
    /// ```
    pub fn function_kill(&self) -> Command<()> {
        self.write("FUNCTION KILL")
    }

    /// All libraries as bytes for [`function_restore`](Self::function_restore).
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// let dump = client.function_dump().await?;
    /// client.function_restore(dump, Some("REPLACE")).await?;
    /// # Ok(()) });
    /// ```
    pub fn function_dump(&self) -> Command<Bytes> {
        self.read("FUNCTION DUMP")
    }

    /// Keeps the libraries that [`function_dump`](Self::function_dump) gave; the policy is `APPEND`, `FLUSH` or `REPLACE`.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// assert!(client.function_restore(b"nonsense", None).await.is_err());
    /// # Ok(()) });
    /// ```
    pub fn function_restore(&self, dump: impl ToArg, policy: Option<&str>) -> Command<()> {
        self.write("FUNCTION RESTORE").arg(dump).arg(policy)
    }
}
