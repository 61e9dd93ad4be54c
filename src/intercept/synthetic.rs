//! What we say in place of a server, or of a client.

use bytes::Bytes;

use super::{Context, Denial, Message};
use crate::{
    jsonrpc::{self, ErrorObject, Kind, code},
    protocol::Era,
};

/// The answer to a request, or in place of a response, that is refused.
pub(super) fn denial(cx: &Context, message: &Message, denial: &Denial) -> Message {
    let is_call = || {
        let request = match message.kind() {
            Kind::Response => cx.request(),
            _ => Some(message),
        };
        request.and_then(Message::method).as_deref() == Some(b"tools/call")
    };
    denial
        .result()
        .filter(|_| is_call())
        .and_then(|text| result(cx, message, text.as_bytes()))
        .unwrap_or_else(|| error(message, denial.as_error()))
}

/// The response to whatever waits for one.
fn error(message: &Message, error: &ErrorObject) -> Message {
    let id = message.envelope().id();
    // What it makes is a response, whatever its error says.
    Message::read(error.to_response(id.as_ref())).unwrap_or_else(|| message.clone())
}

/// A response with that result; `None` if it is not one value as JSON text.
pub(super) fn result(cx: &Context, message: &Message, result: &[u8]) -> Option<Message> {
    // Alone, so that it cannot break out of its place.
    jsonrpc::peek(result).ok()?;
    let result = std::str::from_utf8(result).ok()?.trim_ascii();
    let envelope = message.envelope();
    let id = envelope.id_raw()?;
    let text = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{result}}}"#);
    let response = Message::read(text)?;
    // Every result of that revision says what it is (JRP-13).
    let has_type = response.get("/result/resultType").is_some();
    if cx.era() != Some(Era::Stateless) || has_type || !result.starts_with('{') {
        return Some(response);
    }
    let mut edit = response.edit();
    edit.set("/result/resultType", r#""complete""#).ok()?;
    Message::read(edit.into_text())
}

/// What a request gets that was not asked about, because of another message of its batch (ICP-5).
pub(super) fn not_forwarded(request: &Message) -> Bytes {
    let error = ErrorObject::new(
        code::FORBIDDEN,
        "the batch was not forwarded, because of another message in it",
    );
    failed(request, &error)
}

/// What a request gets whose response does not come.
pub(super) fn failed(request: &Message, error: &ErrorObject) -> Bytes {
    error.to_response(request.envelope().id().as_ref())
}
