use std::{
    borrow::Cow,
    fmt::{self, Write},
};

use bytes::Bytes;

use super::id::RequestId;

/// A JSON-RPC error that this crate makes up itself.
///
/// Its `data` names `shadowcat` as the `source`, so that nobody takes it for the server's answer
/// (PGR-5), and whatever else was added.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct ErrorObject {
    code: i32,
    message: Cow<'static, str>,
    /// Further members of `data`, as JSON text, each behind its comma.
    data: String,
}

impl ErrorObject {
    /// An error with one of the [codes](super::code), and one line for the person who reads it.
    pub fn new(code: i32, message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            message: message.into(),
            data: String::new(),
        }
    }

    /// Adds a text to `data`. Add each key once.
    pub fn add_text(mut self, key: &'static str, text: &str) -> Self {
        self.push_key(key);
        push_text(&mut self.data, text);
        self
    }

    /// Adds a number to `data`. Add each key once.
    pub fn add_number(mut self, key: &'static str, number: u64) -> Self {
        self.push_key(key);
        push_number(&mut self.data, number);
        self
    }

    /// Adds an array of texts to `data`. Add each key once.
    pub fn add_texts(mut self, key: &'static str, texts: &[&str]) -> Self {
        self.push_key(key);
        self.data.push('[');
        for (index, text) in texts.iter().enumerate() {
            if index > 0 {
                self.data.push(',');
            }
            push_text(&mut self.data, text);
        }
        self.data.push(']');
        self
    }

    /// The code.
    #[must_use]
    pub const fn code(&self) -> i32 {
        self.code
    }

    /// The message.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The whole JSON-RPC response, on one line, so that it also fits an event stream.
    ///
    /// Without an id the response has none either, rather than null, which MCP's schemas forbid
    /// (JRP-5).
    #[must_use]
    pub fn to_response(&self, id: Option<&RequestId>) -> Bytes {
        let mut json = String::with_capacity(128 + self.message.len() + self.data.len());
        json.push_str(r#"{"jsonrpc":"2.0","#);
        if let Some(id) = id {
            json.push_str(r#""id":"#);
            json.push_str(id.as_raw());
            json.push(',');
        }
        json.push_str(r#""error":{"code":"#);
        push_number(&mut json, self.code);
        json.push_str(r#","message":"#);
        push_text(&mut json, &self.message);
        json.push_str(r#","data":{"source":"shadowcat""#);
        json.push_str(&self.data);
        json.push_str("}}}");
        json.into()
    }

    fn push_key(&mut self, key: &str) {
        // For most it is all that they take.
        self.data.reserve(64);
        self.data.push(',');
        push_text(&mut self.data, key);
        self.data.push(':');
    }
}

fn push_text(json: &mut String, text: &str) {
    let is_plain = |byte: u8| byte >= b' ' && !matches!(byte, b'"' | b'\\');
    if text.bytes().all(is_plain) {
        json.push('"');
        json.push_str(text);
        json.push('"');
        return;
    }
    // `Value` writes itself without a failure to handle, unlike the generic writers.
    json.push_str(&serde_json::Value::from(text).to_string());
}

fn push_number(json: &mut String, number: impl fmt::Display) {
    // A string takes whatever is written to it.
    _ = write!(json, "{number}");
}
