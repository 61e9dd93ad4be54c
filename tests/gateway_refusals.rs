//! What the gateway's whole stack refuses, as it is on the wire: the status, the body, and that the
//! upstream is not asked.

mod scripted;
mod support;

use http::{HeaderMap, header::AUTHORIZATION};
use scripted::{ScriptedPeer, Wire};
use shadowcat::auth::Principal;
use support::{
    endpoint::{Endpoint, gateway_for},
    within_limit,
};

const INITIALIZE: &str = r#"{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{},"clientInfo":{"name":"raw","version":"1"}}}"#;
const AGREED: &str = r#"{"jsonrpc":"2.0","id":0,"result":{"protocolVersion":"2025-06-18","capabilities":{},"serverInfo":{"name":"s","version":"1"}}}"#;
const CALL: &str = r#"{"jsonrpc":"2.0","id":7,"method":"tools/list"}"#;
const MODERN: &str = r#"{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"echo","_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}"#;

/// The gateway, a server that had nothing to say yet, and clients that are known by their tokens.
struct Site {
    endpoint: Endpoint,
    server: ScriptedPeer,
}

fn caller(headers: &HeaderMap) -> Option<Principal> {
    let name = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let name = name.strip_prefix("Bearer ")?;
    Some(Principal::builder(name).build().expect("a name"))
}

/// A request whose connection ends with its answer.
fn request(method: &str, fields: &str, body: &str) -> String {
    let host = if fields.contains("Host: ") {
        ""
    } else {
        "Host: localhost\r\n"
    };
    format!(
        "{method} /mcp HTTP/1.1\r\n{host}Connection: close\r\nContent-Type: application/json\r\n\
         Accept: application/json, text/event-stream\r\n{fields}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

impl Site {
    async fn start() -> Self {
        let server = ScriptedPeer::bind().await;
        let endpoint = gateway_for(&server.uri().to_string(), caller).await;
        Self { endpoint, server }
    }

    async fn send(&self, request: &str) -> Wire {
        let mut client = Wire::connect(self.endpoint.address).await;
        client.write(request).await;
        client
    }

    /// What the gateway answers by itself, every byte of it but the time.
    async fn refusal(&mut self, request: &str) -> String {
        let before = self.server.connections().await;
        let answer = self.send(request).await.closed().await;
        let after = self.server.connections().await;
        assert_eq!(before, after, "the server was asked: {request}");
        let answer = String::from_utf8(answer).expect("text");
        let lines = answer.split_inclusive("\r\n");
        lines.filter(|line| !line.starts_with("date: ")).collect()
    }

    /// A request that the server answers with `answer`, on a connection of its own.
    async fn passes(&mut self, request: &str, answer: &str) -> String {
        let mut client = self.send(request).await;
        let mut server = self.server.accept().await;
        server.read_message().await;
        server.write(answer).await;
        drop(server);
        client.read_message().await.head
    }

    /// Opens a session, and returns the field that names it.
    async fn open(&mut self, who: &str) -> String {
        let answer = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nMcp-Session-Id: of-{who}\r\n\
             Connection: close\r\nContent-Length: {}\r\n\r\n{AGREED}",
            AGREED.len()
        );
        let fields = format!("Authorization: Bearer {who}\r\n");
        let initialize = request("POST", &fields, INITIALIZE);
        let head = self.passes(&initialize, &answer).await;
        let id = head
            .lines()
            .find_map(|line| line.strip_prefix("mcp-session-id: "));
        format!("Mcp-Session-Id: {}\r\n", id.expect("a session"))
    }
}

/// The status and the body.
fn parts(answer: &str) -> (&str, &str) {
    let status = answer.split(' ').nth(1).expect("a status");
    (status, answer.split_once("\r\n\r\n").expect("a head").1)
}

/// What `who` asks of the session that `session` names, in every way there is.
fn asks(who: &str, session: &str) -> [String; 4] {
    let fields =
        format!("Authorization: Bearer {who}\r\nMCP-Protocol-Version: 2025-06-18\r\n{session}");
    let resume = format!("{fields}Last-Event-ID: 0\r\n");
    [
        request("POST", &fields, CALL),
        request("GET", &fields, ""),
        request("GET", &resume, ""),
        request("DELETE", &fields, ""),
    ]
}

#[tokio::test]
async fn b08_a_foreign_session_an_unknown_one_and_an_ended_one_are_the_same_to_the_byte() {
    within_limit(async {
        let mut site = Site::start().await;
        let (foreign, ended) = (site.open("alice").await, site.open("mallory").await);
        let [.., delete] = asks("mallory", &ended);
        let gone = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
        assert!(site.passes(&delete, gone).await.starts_with("HTTP/1.1 2"));
        // As long as one of ours, and none of ours.
        let letters = foreign.trim_start_matches("Mcp-Session-Id: ").trim().len();
        let unknown = format!("Mcp-Session-Id: {}\r\n", "A".repeat(letters));

        let views = [foreign.as_str(), &unknown, &ended].map(|session| asks("mallory", session));
        for nth in 0..4 {
            let mut seen = Vec::new();
            for view in &views {
                seen.push(site.refusal(&view[nth]).await);
            }
            assert_eq!(seen[0], seen[1], "foreign and unknown");
            assert_eq!(seen[1], seen[2], "unknown and ended");
            let (status, body) = parts(&seen[0]);
            assert_eq!(status, "404", "{seen:?}");
            let id = if nth == 0 { r#""id":7,"# } else { "" };
            let expected = format!(
                r#"{{"jsonrpc":"2.0",{id}"error":{{"code":-31404,"message":"there is no such session","data":{{"source":"shadowcat"}}}}}}"#
            );
            assert_eq!(body, expected);
        }

        // And it is still hers.
        let [call, ..] = asks("alice", &foreign);
        let answer = "HTTP/1.1 202 Accepted\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
        assert!(site.passes(&call, answer).await.starts_with("HTTP/1.1 202"));
    })
    .await;
}

#[tokio::test]
async fn each_refusal_has_its_status_and_body_and_the_server_is_not_asked() {
    within_limit(async {
        let mut site = Site::start().await;
        let session = site.open("alice").await;
        let alice = "Authorization: Bearer alice\r\n";
        let of = |version: &str| format!("{alice}MCP-Protocol-Version: {version}\r\n");
        let mirrored = |name: &str| {
            let of = of("2026-07-28");
            format!("{of}Mcp-Method: tools/call\r\nMcp-Name: {name}\r\n")
        };
        for (what, fields, body, expected) in [
            (
                "no session, where there are some (SES-4)",
                of("2025-06-18"),
                CALL.to_owned(),
                (
"400",
r#"{"jsonrpc":"2.0","id":7,"error":{"code":-32600,"message":"a session id is required","data":{"source":"shadowcat"}}}"#,
),
            ),
            (
                "a name of another machine (ORG-2)",
                format!("{alice}Host: evil.example\r\n"),
                CALL.to_owned(),
                (
"403",
r#"{"jsonrpc":"2.0","error":{"code":-31403,"message":"the request's host is not allowed","data":{"source":"shadowcat"}}}"#,
),
            ),
            (
                "a page of another site (ORG-1)",
                format!("{alice}Origin: https://evil.example\r\n"),
                CALL.to_owned(),
                (
"403",
r#"{"jsonrpc":"2.0","error":{"code":-31403,"message":"the request's origin is not allowed","data":{"source":"shadowcat"}}}"#,
),
            ),
            (
                "a header that is not what the body says (HDR-2)",
                mirrored("other"),
                MODERN.to_owned(),
                (
"400",
r#"{"jsonrpc":"2.0","id":7,"error":{"code":-32020,"message":"mcp-name is missing, malformed, or not what the body says","data":{"source":"shadowcat"}}}"#,
),
            ),
            (
                "a batch where there are none (JRP-7)",
                format!("{}{session}", of("2025-06-18")),
                format!("[{CALL}]"),
                (
"400",
r#"{"jsonrpc":"2.0","error":{"code":-32600,"message":"this protocol version has no batches","data":{"source":"shadowcat"}}}"#,
),
            ),
            (
                "a key that some servers take for another (JRP-10)",
                format!("{}{session}", of("2025-06-18")),
                CALL.replace("}", r#","Method":"tools/call"}"#),
                (
"400",
r#"{"jsonrpc":"2.0","id":7,"error":{"code":-32600,"message":"a key differs from method in upper and lower case alone","data":{"source":"shadowcat"}}}"#,
),
            ),
        ] {
            let answer = site.refusal(&request("POST", &fields, &body)).await;
            assert_eq!(parts(&answer), expected, "{what}");
        }
    })
    .await;
}
