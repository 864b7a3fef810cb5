//! `HyperLogLogs`: about how many different elements there were.

use crate::args::{ToArg, ToArgs};
use crate::client::Client;
use crate::command::Command;

impl Client {
    /// Adds elements; whether the estimate has changed.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// assert!(client.pfadd("visitors", ["ada", "bob"]).await?);
    /// # Ok(()) });
    /// ```
    pub fn pfadd(&self, key: impl ToArg, elements: impl ToArgs) -> Command<bool> {
        self.write("PFADD").arg(key).arg(elements)
    }

    /// About how many different elements all of the keys have together.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// client.pfadd("visitors", ["ada", "bob", "ada"]).await?;
    /// assert_eq!(client.pfcount("visitors").await?, 2);
    /// # Ok(()) });
    /// ```
    pub fn pfcount(&self, keys: impl ToArgs) -> Command<u64> {
        self.read("PFCOUNT").arg(keys)
    }

    /// Keeps the elements of all of the keys in another.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// client.pfmerge("week", ["monday", "tuesday"]).await?;
    /// # Ok(()) });
    /// ```
    pub fn pfmerge(&self, to: impl ToArg, keys: impl ToArgs) -> Command<()> {
        self.write("PFMERGE").arg(to).arg(keys)
    }
}
