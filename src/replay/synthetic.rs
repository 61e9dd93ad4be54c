//! What we say in a stream in place of its server: each text is a whole SSE block.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};

use crate::{
    jsonrpc::{ErrorObject, RequestId, code},
    sse::{self, EventId},
};

/// A JSON-RPC error for each request whose response will not come.
fn errors<'a>(ids: impl Iterator<Item = &'a RequestId>, error: &ErrorObject) -> Bytes {
    let mut out = BytesMut::new();
    for id in ids {
        out.put_slice(b"event: message\ndata: ");
        out.put_slice(&error.to_response(Some(id)));
        out.put_slice(b"\n\n");
    }
    out.freeze()
}

/// The server's response ended before it was complete.
pub(super) fn broken_off<'a>(ids: impl Iterator<Item = &'a RequestId>) -> Bytes {
    let error = ErrorObject::new(
        code::BAD_GATEWAY,
        "the server's response broke off before its end",
    );
    errors(ids, &error)
}

/// Events that may have held the response are not kept any more.
pub(super) fn forgotten<'a>(ids: impl Iterator<Item = &'a RequestId>) -> Bytes {
    let error = ErrorObject::new(
        code::INVALID_CURSOR,
        "events after the cursor are no longer kept, and the response may be among them",
    );
    errors(ids, &error)
}

/// Why events are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum GapReason {
    /// They were forgotten, to make room.
    Evicted,
    /// They were never recorded.
    Lost,
}

/// Tells a client that events are missing before the one that comes next. It has no id, so that the
/// cursor stays where it was until an event follows.
pub(super) fn gap(from: u64, first_available: Option<u64>, reason: GapReason) -> Bytes {
    let first = first_available.map_or_else(|| "null".to_owned(), |first| first.to_string());
    let reason = match reason {
        GapReason::Evicted => "evicted",
        GapReason::Lost => "lost",
    };
    format!(
        "event: gap\ndata: {{\"from\":{from},\"first_available\":{first},\"reason\":\"{reason}\"}}\n\n"
    )
    .into()
}

/// How a client that has nothing to read yet is given its cursor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CursorForm {
    /// An event without data, which the client's revision knows (SSE-3).
    Priming,
    /// An event of a type that MCP clients skip: those before 2025-11-25 fail on empty data.
    Typed,
    /// A block without data, which dispatches nothing (SWF-8).
    Silent,
}

pub(super) fn cursor(id: &EventId, form: CursorForm, retry: Option<Duration>) -> Bytes {
    let mut out = BytesMut::new();
    if form == CursorForm::Typed {
        out.put_slice(b"event: resumed\n");
    }
    out.put_slice(b"id: ");
    out.put_slice(&id.encode());
    out.put_slice(b"\n");
    if let Some(retry) = retry {
        out.put_slice(format!("retry: {}\n", retry.as_millis()).as_bytes());
    }
    if form != CursorForm::Silent {
        out.put_slice(b"data:\n");
    }
    out.put_slice(b"\n");
    out.freeze()
}

/// Keeps a connection open; also the first thing on it, for proxies that wait for a first byte (C09).
pub(super) fn keep_alive() -> Bytes {
    Bytes::from_static(b":\n\n")
}

/// Asks the client to come back after that time.
pub(super) fn retry(delay: Duration) -> Bytes {
    sse::retry(delay)
}
