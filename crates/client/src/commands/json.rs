//! Documents, and parts of them by path.
//!
//! A path that begins with `$` may match several places, and is answered with a list. Documents go in as anything serde can
//! write, and come out the same way.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::options;
use crate::args::{ToArg, ToArgs};
use crate::client::Client;
use crate::command::Command;
use crate::value::{FromValue, Json, Value};

options! {
    /// Options of [`Client::json_set_with`].
    ///
    /// ```
    /// use dormouse_client::JsonSetOptions;
    ///
    /// # dormouse_client::example(async |client| {
    /// assert!(client.json_set_with("doc", "$", &1, JsonSetOptions::new().nx()).await?);
    /// assert!(!client.json_set_with("doc", "$", &2, JsonSetOptions::new().nx()).await?);
    /// # Ok(()) });
    /// ```
    JsonSetOptions {
        /// Only if there is nothing at that path.
        nx() => "NX";
        /// Only if there is something at that path.
        xx() => "XX";
    }
}

impl Client {
    /// Sets a document, or the places in it that a path matches.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// client.json_set("user", "$", &std::collections::BTreeMap::from([("age", 36)])).await?;
    /// client.json_set("user", "$.age", &37).await?;
    /// # Ok(()) });
    /// ```
    pub fn json_set(&self, key: impl ToArg, path: &str, value: &(impl Serialize + ?Sized)) -> Command<()> {
        self.write("JSON.SET").arg(key).arg(path).arg(Json(value))
    }

    /// The same with a condition; whether it was set.
    ///
    /// ```
    /// use dormouse_client::JsonSetOptions;
    ///
    /// # dormouse_client::example(async |client| {
    /// assert!(!client.json_set_with("doc", "$", &1, JsonSetOptions::new().xx()).await?);
    /// # Ok(()) });
    /// ```
    pub fn json_set_with(
        &self,
        key: impl ToArg,
        path: &str,
        value: &(impl Serialize + ?Sized),
        options: impl ToArgs,
    ) -> Command<bool> {
        let command = self.write::<Value>("JSON.SET").arg(key).arg(path).arg(Json(value)).arg(options);
        command.map(|reply| !reply.is_null())
    }

    /// A document.
    ///
    /// ```
    /// use std::collections::BTreeMap;
    ///
    /// # dormouse_client::example(async |client| {
    /// client.json_set("user", "$", &BTreeMap::from([("age", 36)])).await?;
    /// let user: Option<BTreeMap<String, u8>> = client.json_get("user").await?;
    /// assert_eq!(user.unwrap()["age"], 36);
    /// # Ok(()) });
    /// ```
    pub fn json_get<T: DeserializeOwned + 'static>(&self, key: impl ToArg) -> Command<Option<T>> {
        self.read::<Option<Json<T>>>("JSON.GET").arg(key).map(|found| found.map(|Json(value)| value))
    }

    /// What is in a document at a path that begins with `$`: each place it matches.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// client.json_set("list", "$", &[1, 2, 3]).await?;
    /// let all: Option<Vec<u8>> = client.json_get_path("list", "$[*]").await?;
    /// assert_eq!(all.unwrap(), [1, 2, 3]);
    /// # Ok(()) });
    /// ```
    pub fn json_get_path<T: DeserializeOwned + 'static>(&self, key: impl ToArg, path: &str) -> Command<Option<Vec<T>>> {
        let command = self.read::<Option<Json<Vec<T>>>>("JSON.GET").arg(key).arg(path);
        command.map(|found| found.map(|Json(value)| value))
    }

    /// What is at a path that begins with `$`, in each of several documents.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// client.json_set("a", "$", &[1]).await?;
    /// let found: Vec<Option<Vec<u8>>> = client.json_mget(["a", "b"], "$[0]").await?;
    /// assert_eq!(found, [Some(vec![1]), None]);
    /// # Ok(()) });
    /// ```
    pub fn json_mget<T: DeserializeOwned + 'static>(
        &self,
        keys: impl ToArgs,
        path: &str,
    ) -> Command<Vec<Option<Vec<T>>>> {
        let command = self.read::<Vec<Option<Json<Vec<T>>>>>("JSON.MGET").arg(keys).arg(path);
        command.map(|all| all.into_iter().map(|found| found.map(|Json(value)| value)).collect())
    }

    /// Sets several documents as one, each a key, a path and a value.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// client.json_mset(&[("a", "$", 1), ("b", "$", 2)]).await?;
    /// # Ok(()) });
    /// ```
    pub fn json_mset(&self, documents: &[(impl ToArg, &str, impl Serialize)]) -> Command<()> {
        let mut command = self.write("JSON.MSET");
        for (key, path, value) in documents {
            command = command.arg(key).arg(path).arg(Json(value));
        }
        command
    }

    /// Merges something into a document: RFC 7396.
    ///
    /// ```
    /// use std::collections::BTreeMap;
    ///
    /// # dormouse_client::example(async |client| {
    /// client.json_set("user", "$", &BTreeMap::from([("age", 36)])).await?;
    /// client.json_merge("user", "$", &BTreeMap::from([("age", None::<u8>)])).await?;
    /// # Ok(()) });
    /// ```
    pub fn json_merge(&self, key: impl ToArg, path: &str, value: &(impl Serialize + ?Sized)) -> Command<()> {
        self.write("JSON.MERGE").arg(key).arg(path).arg(Json(value))
    }

    /// Removes what is at a path; how many places there were.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// client.json_set("list", "$", &[1, 2, 3]).await?;
    /// assert_eq!(client.json_del("list", "$[0]").await?, 1);
    /// # Ok(()) });
    /// ```
    pub fn json_del(&self, key: impl ToArg, path: &str) -> Command<u64> {
        self.write("JSON.DEL").arg(key).arg(path)
    }

    /// Empties lists and maps at a path, and makes numbers 0; how many places.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// client.json_set("list", "$", &[1, 2, 3]).await?;
    /// assert_eq!(client.json_clear("list", "$").await?, 1);
    /// # Ok(()) });
    /// ```
    pub fn json_clear(&self, key: impl ToArg, path: &str) -> Command<u64> {
        self.write("JSON.CLEAR").arg(key).arg(path)
    }

    /// The types at a path.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// client.json_set("doc", "$", &"text").await?;
    /// assert_eq!(client.json_type("doc", "$").await?, [Some("string".to_owned())]);
    /// # Ok(()) });
    /// ```
    pub fn json_type(&self, key: impl ToArg, path: &str) -> Command<Vec<Option<String>>> {
        let command = self.read::<Option<Vec<Option<String>>>>("JSON.TYPE").arg(key).arg(path);
        command.map(Option::unwrap_or_default)
    }

    /// Adds a number to those at a path that begins with `$`; what they are then, where there are any.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// client.json_set("doc", "$", &[1, 2]).await?;
    /// assert_eq!(client.json_numincrby::<i64>("doc", "$[*]", 5).await?, [Some(6), Some(7)]);
    /// # Ok(()) });
    /// ```
    pub fn json_numincrby<T: DeserializeOwned + 'static>(
        &self,
        key: impl ToArg,
        path: &str,
        by: impl ToArg,
    ) -> Command<Vec<Option<T>>> {
        let command = self.write::<Json<Vec<Option<T>>>>("JSON.NUMINCRBY").arg(key).arg(path).arg(by);
        command.map(|Json(all)| all)
    }

    /// Multiplies the numbers at a path that begins with `$`; what they are then, where there are any.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// client.json_set("doc", "$", &[1, 2]).await?;
    /// assert_eq!(client.json_nummultby::<i64>("doc", "$[*]", 5).await?, [Some(5), Some(10)]);
    /// # Ok(()) });
    /// ```
    pub fn json_nummultby<T: DeserializeOwned + 'static>(
        &self,
        key: impl ToArg,
        path: &str,
        by: impl ToArg,
    ) -> Command<Vec<Option<T>>> {
        let command = self.write::<Json<Vec<Option<T>>>>("JSON.NUMMULTBY").arg(key).arg(path).arg(by);
        command.map(|Json(all)| all)
    }

    /// Turns truth values at a path around; what they are then, where there are any.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// client.json_set("doc", "$", &true).await?;
    /// assert_eq!(client.json_toggle("doc", "$").await?, [Some(false)]);
    /// # Ok(()) });
    /// ```
    pub fn json_toggle(&self, key: impl ToArg, path: &str) -> Command<Vec<Option<bool>>> {
        self.write("JSON.TOGGLE").arg(key).arg(path)
    }

    /// Appends to texts at a path; their lengths then, where there are any.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// client.json_set("doc", "$", &"ab").await?;
    /// assert_eq!(client.json_strappend("doc", "$", "c").await?, [Some(3)]);
    /// # Ok(()) });
    /// ```
    pub fn json_strappend(&self, key: impl ToArg, path: &str, text: &str) -> Command<Vec<Option<u64>>> {
        self.write("JSON.STRAPPEND").arg(key).arg(path).arg(Json(text))
    }

    /// The lengths of texts at a path, where there are any.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// client.json_set("doc", "$", &"ab").await?;
    /// assert_eq!(client.json_strlen("doc", "$").await?, [Some(2)]);
    /// # Ok(()) });
    /// ```
    pub fn json_strlen(&self, key: impl ToArg, path: &str) -> Command<Vec<Option<u64>>> {
        self.read::<Option<_>>("JSON.STRLEN").arg(key).arg(path).map(Option::unwrap_or_default)
    }

    /// Appends values to lists at a path; their lengths then, where there are any.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// client.json_set("doc", "$", &[1]).await?;
    /// assert_eq!(client.json_arrappend("doc", "$", &[2, 3]).await?, [Some(3)]);
    /// # Ok(()) });
    /// ```
    pub fn json_arrappend(&self, key: impl ToArg, path: &str, values: &[impl Serialize]) -> Command<Vec<Option<u64>>> {
        let values: Vec<_> = values.iter().map(Json).collect();
        self.write("JSON.ARRAPPEND").arg(key).arg(path).arg(values)
    }

    /// Puts values into lists at a path, before a place; their lengths then, where there are any.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// client.json_set("doc", "$", &[1, 3]).await?;
    /// assert_eq!(client.json_arrinsert("doc", "$", 1, &[2]).await?, [Some(3)]);
    /// # Ok(()) });
    /// ```
    pub fn json_arrinsert(
        &self,
        key: impl ToArg,
        path: &str,
        index: i64,
        values: &[impl Serialize],
    ) -> Command<Vec<Option<u64>>> {
        let values: Vec<_> = values.iter().map(Json).collect();
        self.write("JSON.ARRINSERT").arg(key).arg(path).arg(index).arg(values)
    }

    /// Where a value is in lists at a path; -1 if it is not.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// client.json_set("doc", "$", &[1, 3]).await?;
    /// assert_eq!(client.json_arrindex("doc", "$", &3).await?, [Some(1)]);
    /// # Ok(()) });
    /// ```
    pub fn json_arrindex(
        &self,
        key: impl ToArg,
        path: &str,
        value: &(impl Serialize + ?Sized),
    ) -> Command<Vec<Option<i64>>> {
        self.read("JSON.ARRINDEX").arg(key).arg(path).arg(Json(value))
    }

    /// The lengths of lists at a path, where there are any.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// client.json_set("doc", "$", &[1, 3]).await?;
    /// assert_eq!(client.json_arrlen("doc", "$").await?, [Some(2)]);
    /// # Ok(()) });
    /// ```
    pub fn json_arrlen(&self, key: impl ToArg, path: &str) -> Command<Vec<Option<u64>>> {
        self.read::<Option<_>>("JSON.ARRLEN").arg(key).arg(path).map(Option::unwrap_or_default)
    }

    /// Takes an element out of lists at a path; -1 is the last.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// client.json_set("doc", "$", &[1, 3]).await?;
    /// assert_eq!(client.json_arrpop::<i64>("doc", "$", -1).await?, [Some(3)]);
    /// # Ok(()) });
    /// ```
    pub fn json_arrpop<T: DeserializeOwned + 'static>(
        &self,
        key: impl ToArg,
        path: &str,
        index: i64,
    ) -> Command<Vec<Option<T>>> {
        let command = self.write::<Vec<Option<Json<T>>>>("JSON.ARRPOP").arg(key).arg(path).arg(index);
        command.map(|all| all.into_iter().map(|found| found.map(|Json(value)| value)).collect())
    }

    /// Keeps part of lists at a path, both ends included; their lengths then, where there are any.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// client.json_set("doc", "$", &[1, 2, 3]).await?;
    /// assert_eq!(client.json_arrtrim("doc", "$", 1, -1).await?, [Some(2)]);
    /// # Ok(()) });
    /// ```
    pub fn json_arrtrim(&self, key: impl ToArg, path: &str, start: i64, stop: i64) -> Command<Vec<Option<u64>>> {
        self.write("JSON.ARRTRIM").arg(key).arg(path).arg(start).arg(stop)
    }

    /// The keys of maps at a path, where there are any.
    ///
    /// ```
    /// use std::collections::BTreeMap;
    ///
    /// # dormouse_client::example(async |client| {
    /// client.json_set("doc", "$", &BTreeMap::from([("a", 1)])).await?;
    /// assert_eq!(client.json_objkeys("doc", "$").await?, [Some(vec!["a".to_owned()])]);
    /// # Ok(()) });
    /// ```
    pub fn json_objkeys(&self, key: impl ToArg, path: &str) -> Command<Vec<Option<Vec<String>>>> {
        self.read::<Option<_>>("JSON.OBJKEYS").arg(key).arg(path).map(Option::unwrap_or_default)
    }

    /// The sizes of maps at a path, where there are any.
    ///
    /// ```
    /// use std::collections::BTreeMap;
    ///
    /// # dormouse_client::example(async |client| {
    /// client.json_set("doc", "$", &BTreeMap::from([("a", 1)])).await?;
    /// assert_eq!(client.json_objlen("doc", "$").await?, [Some(1)]);
    /// # Ok(()) });
    /// ```
    pub fn json_objlen(&self, key: impl ToArg, path: &str) -> Command<Vec<Option<u64>>> {
        self.read::<Option<_>>("JSON.OBJLEN").arg(key).arg(path).map(Option::unwrap_or_default)
    }

    /// A document as Redis's own types.
    ///
    /// ```
    /// use dormouse_client::Value;
    ///
    /// # dormouse_client::example(async |client| {
    /// client.json_set("doc", "$", &[1]).await?;
    /// let reply: Value = client.json_resp("doc", "$").await?;
    /// assert!(!reply.is_null());
    /// # Ok(()) });
    /// ```
    pub fn json_resp<T: FromValue>(&self, key: impl ToArg, path: &str) -> Command<T> {
        self.read("JSON.RESP").arg(key).arg(path)
    }

    /// How many bytes of memory what is at a path takes.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// client.json_set("doc", "$", &[1]).await?;
    /// assert!(client.json_memory("doc", "$").await?[0] > 0);
    /// # Ok(()) });
    /// ```
    pub fn json_memory(&self, key: impl ToArg, path: &str) -> Command<Vec<u64>> {
        self.read("JSON.DEBUG MEMORY").arg(key).arg(path)
    }
}
