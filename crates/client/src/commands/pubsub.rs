//! Messages to channels. To listen, see [`Client::subscribe`].

use crate::args::{ToArg, ToArgs};
use crate::client::Client;
use crate::command::Command;
use crate::value::Pairs;

impl Client {
    /// Sends a message to a channel; how many heard it. Over HTTP messages are text.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// assert_eq!(client.publish("news", "hello").await?, 0);
    /// # Ok(()) });
    /// ```
    pub fn publish(&self, channel: impl ToArg, message: impl ToArg) -> Command<u64> {
        self.write("PUBLISH").arg(channel).arg(message)
    }

    /// Sends a message to a channel of the cluster's kind; how many heard it.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// assert_eq!(client.spublish("news", "hello").await?, 0);
    /// # Ok(()) });
    /// ```
    pub fn spublish(&self, channel: impl ToArg, message: impl ToArg) -> Command<u64> {
        self.write("SPUBLISH").arg(channel).arg(message)
    }

    /// Channels that somebody listens to, all of them or those that match a pattern.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// assert!(client.pubsub_channels(None).await?.is_empty());
    /// # Ok(()) });
    /// ```
    pub fn pubsub_channels(&self, pattern: Option<&str>) -> Command<Vec<String>> {
        self.read("PUBSUB CHANNELS").arg(pattern)
    }

    /// How many listen to each channel.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// assert_eq!(client.pubsub_numsub(["news"]).await?, [("news".to_owned(), 0)]);
    /// # Ok(()) });
    /// ```
    pub fn pubsub_numsub(&self, channels: impl ToArgs) -> Command<Vec<(String, u64)>> {
        self.read::<Pairs<String, u64>>("PUBSUB NUMSUB").arg(channels).map(|pairs| pairs.0)
    }

    /// How many patterns are listened to.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// assert_eq!(client.pubsub_numpat().await?, 0);
    /// # Ok(()) });
    /// ```
    pub fn pubsub_numpat(&self) -> Command<u64> {
        self.read("PUBSUB NUMPAT")
    }

    /// Channels of the cluster's kind that somebody listens to.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// assert!(client.pubsub_shardchannels(None).await?.is_empty());
    /// # Ok(()) });
    /// ```
    pub fn pubsub_shardchannels(&self, pattern: Option<&str>) -> Command<Vec<String>> {
        self.read("PUBSUB SHARDCHANNELS").arg(pattern)
    }

    /// How many listen to each channel of the cluster's kind.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// assert_eq!(client.pubsub_shardnumsub(["news"]).await?, [("news".to_owned(), 0)]);
    /// # Ok(()) });
    /// ```
    pub fn pubsub_shardnumsub(&self, channels: impl ToArgs) -> Command<Vec<(String, u64)>> {
        self.read::<Pairs<String, u64>>("PUBSUB SHARDNUMSUB").arg(channels).map(|pairs| pairs.0)
    }
}
