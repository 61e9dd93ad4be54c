//! The messages that the load and the upstream exchange.

// Each benchmark uses some of it.
#![allow(dead_code)]

/// One of these is in every event, and nowhere else in a stream: counting them counts events.
pub(crate) const MARK: u8 = b'~';

/// Bytes of one event.
pub(crate) const EVENT: usize = 300;

/// Bytes of one event in its own HTTP chunk, which is what servers send.
pub(crate) const CHUNK: usize = EVENT + "12c\r\n\r\n".len();

/// What ends a chunked body.
pub(crate) const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// Asks the upstream for a kind of reply; the path stays that of a real endpoint.
pub(crate) const REPLY: &str = "x-bench-reply";

/// What every client shows, and only a guarded gateway looks at.
pub(crate) const TOKEN: &str = "0123456789abcdefghijklmnopqrstuv";

const CALL: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"search","arguments":{"query":""#;
const RESULT: &str =
    r#"{"jsonrpc":"2.0","id":1,"result":{"isError":false,"content":[{"type":"text","text":""#;
const PROGRESS: &str = r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":1,"progress":1,"message":""#;
const INITIALIZE: &str = r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"load","version":"1"}}}"#;
const INITIALIZED: &str = r#"{"jsonrpc":"2.0","id":0,"result":{"protocolVersion":"2025-06-18","capabilities":{},"serverInfo":{"name":"upstream","version":"1"}}}"#;

/// `before`, padding, `after`: `len` bytes in all.
fn padded(before: &str, after: &str, len: usize) -> String {
    let padding = "x".repeat(len - before.len() - after.len());
    format!("{before}{padding}{after}")
}

/// An event: a notification, or the response that ends a stream. Its text begins with `text`.
pub(crate) fn event(last: bool, text: &str) -> String {
    let (message, close) = if last {
        (RESULT, "~\"}]}}\n\n")
    } else {
        (PROGRESS, "~\"}}\n\n")
    };
    padded(
        &format!("event: message\ndata: {message}{text}"),
        close,
        EVENT,
    )
}

/// An event in a chunk of its own.
pub(crate) fn event_chunk(last: bool) -> Vec<u8> {
    let event = event(last, "");
    format!("{EVENT:x}\r\n{event}\r\n").into_bytes()
}

/// A comment that counts as an event here, but is none: nobody keeps it.
pub(crate) fn comment_chunk() -> Vec<u8> {
    let comment = format!(": {}\n\n", char::from(MARK));
    format!("{:x}\r\n{comment}\r\n", comment.len()).into_bytes()
}

/// The head of a response that is an event stream.
pub(crate) fn stream_head() -> &'static str {
    "HTTP/1.1 200 OK\r\n\
     content-type: text/event-stream\r\n\
     cache-control: no-cache\r\n\
     date: Thu, 01 Jan 2026 00:00:00 GMT\r\n\
     transfer-encoding: chunked\r\n\r\n"
}

/// A response of about 300 bytes of JSON.
pub(crate) fn json_response() -> String {
    response("", &padded(RESULT, "\"}]}}", 300))
}

/// The response to `initialize`, which gives the session its id.
pub(crate) fn initialize_response() -> String {
    let session = "mcp-session-id: 3f2b8c1e-6f0a-4d8e-9a55-0c7f1d2e3b4a\r\n";
    response(session, INITIALIZED)
}

fn response(header: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 200 OK\r\n\
         content-type: application/json\r\n\
         {header}\
         date: Thu, 01 Jan 2026 00:00:00 GMT\r\n\
         content-length: {length}\r\n\r\n{body}"
    )
}

/// A [`call_body`] with the headers of an MCP client.
pub(crate) fn call_request(host: &str, session: &str, reply: &str) -> Vec<u8> {
    call(host, session, reply, &call_body())
}

/// The same with another id, for clients that share a session. It is answered with 1 all the same.
#[allow(dead_code, reason = "not every bench has such clients")]
pub(crate) fn call_request_of(client: usize, host: &str, session: &str) -> Vec<u8> {
    let call_of = CALL.replace("\"id\":1", &format!("\"id\":{client}"));
    call(host, session, "json", &padded(&call_of, "\"}}}", 300))
}

fn call(host: &str, session: &str, reply: &str, body: &str) -> Vec<u8> {
    let headers = format!("mcp-session-id: {session}\r\nmcp-protocol-version: 2025-06-18\r\n");
    request(host, &headers, reply, body)
}

/// The same with a token that nobody knows.
pub(crate) fn refused_request(host: &str, session: &str) -> Vec<u8> {
    let request = String::from_utf8(call_request(host, session, "json"));
    let request = request.expect("ASCII");
    let unknown = TOKEN.replace('0', "1");
    request.replace(TOKEN, &unknown).into_bytes()
}

/// A call of a tool, about 300 bytes of JSON; its id is 1.
pub(crate) fn call_body() -> String {
    padded(CALL, "\"}}}", 300)
}

/// The request for what followed the event with that id.
pub(crate) fn resume_request(host: &str, session: &str, cursor: &str) -> Vec<u8> {
    format!(
        "GET /mcp HTTP/1.1\r\n\
         host: {host}\r\n\
         accept: text/event-stream\r\n\
         mcp-session-id: {session}\r\n\
         mcp-protocol-version: 2025-06-18\r\n\
         last-event-id: {cursor}\r\n\r\n"
    )
    .into_bytes()
}

/// The request that opens a session.
pub(crate) fn initialize_request(host: &str) -> Vec<u8> {
    request(host, "", "initialize", INITIALIZE)
}

fn request(host: &str, headers: &str, reply: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "POST /mcp HTTP/1.1\r\n\
         host: {host}\r\n\
         user-agent: load/1\r\n\
         accept: application/json, text/event-stream\r\n\
         content-type: application/json\r\n\
         authorization: Bearer {TOKEN}\r\n\
         {headers}\
         {REPLY}: {reply}\r\n\
         content-length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// The value of a header in the head of a message; names are in lower case on this bench's wires.
pub(crate) fn header<'a>(head: &'a [u8], name: &str) -> Option<&'a str> {
    let name = format!("\r\n{name}: ");
    let start = memchr::memmem::find(head, name.as_bytes())? + name.len();
    let end = start + memchr::memchr(b'\r', &head[start..])?;
    std::str::from_utf8(&head[start..end]).ok()
}
