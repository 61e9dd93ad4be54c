//! The interceptors that come with the crate.

mod intercept_support;

use std::{
    io,
    sync::{Arc, Mutex},
};

use intercept_support::{
    CALL, LIST, LOG, RESULT, Seen, Server, ask, data, events, get, noting, post,
};
use shadowcat::{
    auth::Principal,
    intercept::{
        AuditLog, Denial, InterceptLayer, Interceptor, Interest, Options, Redact, ToolFilter,
    },
    protocol::Era,
};

fn list(tools: &str) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","id":"a","result":{{"tools":[{tools}],"ttlMs":5,"cacheScope":"public"}}}}"#
    )
}

const READ: &str = r#"{"name": "read_file","n":1.0}"#;
const DROP: &str = r#"{"inputSchema":{},"name":"drop_table"}"#;
const ECHO: &str = r#"{"name":"\u0065cho"}"#;

fn call(name: &str) -> String {
    CALL.replace("\"echo\"", name)
}

/// ICP-8.
#[tokio::test]
async fn icp_8_tools_that_may_not_be_called_are_not_shown() {
    for (filter, shown, allowed) in [
        (
            ToolFilter::allow(["echo", "read_*"]),
            format!("{READ}, {ECHO}"),
            [true, true, false],
        ),
        (
            ToolFilter::deny(["echo", "read_*"]),
            DROP.to_owned(),
            [false, false, true],
        ),
        (
            ToolFilter::by(|_, name| name == "echo"),
            ECHO.to_owned(),
            [true, false, false],
        ),
        (
            ToolFilter::deny([""; 0]),
            format!("{READ}, {DROP}, {ECHO}"),
            [true; 3],
        ),
        (ToolFilter::allow([""; 0]), String::new(), [false; 3]),
    ] {
        let layer = InterceptLayer::new(filter);
        let whole = list(&format!("{READ}, {DROP}, {ECHO}"));
        for server in [
            Server::json(&whole),
            Server::stream(&events(&[LOG, &whole])),
        ] {
            let had = ask(&layer, &server, post(LIST)).await;
            assert!(had.body.contains(&list(&shown)), "{}", had.body);
        }
        for (name, is_allowed) in ["\"\\u0065cho\"", "\"read_x\"", "\"drop_x\""]
            .iter()
            .zip(allowed)
        {
            let server = Server::json(RESULT);
            let had = ask(&layer, &server, post(&call(name))).await;
            assert_eq!(had.body.contains("-31403"), !is_allowed, "{name}");
            assert_eq!(server.was_asked(), is_allowed);
        }
    }
}

#[tokio::test]
async fn icp_8_what_may_be_any_tool_is_none() {
    let layer = InterceptLayer::new(ToolFilter::deny(["drop_*"]));
    let server = Server::json(RESULT);
    for name in ["7", "null", "[\"echo\"]"] {
        let had = ask(&layer, &server, post(&call(name))).await;
        assert!(had.body.contains("-31403"), "{name}");
    }
    assert!(!server.was_asked());
    let odd = list(&format!(
        r#"{{"name":"echo","name":"drop_table"}},{{"name":"drop_table","name":"echo"}},{{"name":7}},{{}},7,{READ}"#
    ));
    let had = ask(&layer, &Server::json(&odd), post(LIST)).await;
    assert_eq!(had.body, list(READ));
    // Nobody knows what a response in a GET stream answers: a list is one by what it says.
    let had = ask(&layer, &Server::stream(&events(&[&list(DROP)])), get()).await;
    assert_eq!(data(&had.body), [list("")]);
}

/// CCH-1: a list that others may see otherwise says so, in the revision that has a word for it.
#[tokio::test]
async fn cch_1_filtered_list_is_private() {
    let stateless = || {
        let mut request = post(LIST);
        request.extensions_mut().insert(Era::Stateless);
        request
    };
    let whole = list(READ);
    let private = whole.replace("public", "private");
    for (filter, expected) in [
        (ToolFilter::deny(["drop_*"]), &whole),
        (ToolFilter::by(|_, _| true), &private),
    ] {
        let layer = InterceptLayer::new(filter);
        let had = ask(&layer, &Server::json(&whole), stateless()).await;
        assert_eq!(had.body, *expected);
        let had = ask(&layer, &Server::json(&whole), post(LIST)).await;
        assert_eq!(had.body, whole);
    }
    let layer = InterceptLayer::new(ToolFilter::deny(["read_*"]));
    let had = ask(&layer, &Server::json(&whole), stateless()).await;
    assert_eq!(had.body, list("").replace("public", "private"));
}

#[tokio::test]
async fn icp_8_server_without_any_tool_that_is_allowed_has_none() {
    let initialize = r#"{"jsonrpc":"2.0","id":7,"method":"initialize","params":{}}"#;
    let can = r#"{"jsonrpc":"2.0","id":7,"result":{"capabilities":{"logging":{},"tools":{"listChanged":true}}}}"#;
    for filter in [ToolFilter::allow([""; 0]), ToolFilter::deny(["echo", "*"])] {
        let layer = InterceptLayer::new(filter);
        let had = ask(&layer, &Server::json(can), post(initialize)).await;
        assert_eq!(
            had.body,
            can.replace(r#","tools":{"listChanged":true}"#, "")
        );
    }
    for filter in [ToolFilter::allow(["echo"]), ToolFilter::deny(["e*", ""])] {
        let layer = InterceptLayer::new(filter);
        let had = ask(&layer, &Server::json(can), post(initialize)).await;
        assert_eq!(had.body, can);
    }
}

/// A call that nobody waits for is run by servers that do not look at the id.
#[tokio::test]
async fn icp_8_call_without_an_id_gets_by_no_filter() {
    for filter in [
        ToolFilter::deny(["drop_*"]),
        ToolFilter::allow(["echo"]),
        ToolFilter::by(|_, _| true),
    ] {
        let layer = InterceptLayer::new(filter);
        let server = Server::json(RESULT);
        for name in ["\"drop_x\"", "\"echo\""] {
            let note = call(name).replace(r#""id":7,"#, "");
            let had = ask(&layer, &server, post(&note)).await;
            assert_eq!((had.status.as_u16(), &*had.body), (403, ""));
            let had = ask(&layer, &server, post(&format!("[{LIST},{note}]"))).await;
            assert!(had.body.contains("-31403"), "{}", had.body);
            let null = call(name).replace(":7,", ":null,");
            assert_eq!(ask(&layer, &server, post(&null)).await.status, 400);
        }
        assert!(!server.was_asked());
    }
}

#[tokio::test]
async fn denial_of_a_tool_is_what_it_is_said_to_be() {
    let filter = ToolFilter::deny(["echo"]).with_denial(Denial::tool_result("ask an operator"));
    let had = ask(
        &InterceptLayer::new(filter),
        &Server::json(RESULT),
        post(CALL),
    )
    .await;
    assert!(
        had.body
            .contains(r#""text":"ask an operator"}],"isError":true"#),
        "{}",
        had.body
    );
}

/// B29: what was redacted is seen by nobody outside.
#[tokio::test]
async fn b29_redacted_values_are_gone_and_nothing_else_is() {
    let secret = r#"{"jsonrpc":"2.0","id":7,"result":{"content":[{"text":"s3cret","n":1.0},{"text":{"a":["s3cret"]}},{}],"t" : "s3cret","t":"s3cret"}}"#;
    let redact = Redact::new(Interest::responses("tools/call"))
        .add_pointer("/result/content/*/text")
        .and_then(|redact| redact.add_pointer("/result/content/1/text/a/0"))
        .and_then(|redact| redact.add_pointer("/result/t"))
        .expect("pointers");
    let seen = Seen::default();
    let expected = secret
        .replace(r#"{"a":["s3cret"]}"#, r#""[redacted]""#)
        .replace("s3cret", "[redacted]");
    let layer = InterceptLayer::new((noting("outside", &seen), redact.clone()));
    // Both of a key that is there twice: nobody knows which one counts.
    for server in [
        Server::json(secret),
        Server::stream(&events(&[LOG, secret])),
    ] {
        let had = ask(&layer, &server, post(CALL)).await;
        assert!(had.body.contains(&expected), "{}", had.body);
    }
    assert_eq!(seen.take().len(), 5);
    // Of another method.
    let other = secret.replace(":7,", ":\"a\",");
    let had = ask(&layer, &Server::json(&other), post(LIST)).await;
    assert_eq!(had.body, other);
    let plain = InterceptLayer::new(redact.with_replacement("a \"b\""));
    let had = ask(&plain, &Server::json(RESULT), post(CALL)).await;
    assert_eq!(
        (&*had.body, plain.handle().stats().replaced_total),
        (RESULT, 0)
    );
    let had = ask(&plain, &Server::json(secret), post(CALL)).await;
    assert!(had.body.contains(r#""a \"b\"","n":1.0"#), "{}", had.body);
    for pointer in ["", "result", "/id", "/method", "/*", "/a~"] {
        assert!(
            Redact::new(Interest::all()).add_pointer(pointer).is_err(),
            "{pointer:?}"
        );
    }
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no panic").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn audit_log_says_who_and_what_and_none_of_the_data() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let layer = InterceptLayer::new(AuditLog::new(Interest::all()));
    let mut request = post(&CALL.replace("\"echo\"", "\"ec\\nho\""));
    let who = Principal::builder("alice").with_issuer("https://i").build();
    request.extensions_mut().insert(who.expect("a name"));
    let error = r#"{"jsonrpc":"2.0","id":7,"error":{"code":1,"message":"s3cret"}}"#;
    let had = ask(&layer, &Server::json(error), request).await;
    assert_eq!(had.body, error);
    let log = String::from_utf8(log.0.lock().expect("no panic").clone()).expect("UTF-8");
    let lines: Vec<_> = log.lines().collect();
    assert_eq!(lines.len(), 2, "{log}");
    for (line, parts) in lines.iter().zip([
        &["ToServer", "Request", "is_error=false"],
        &["ToClient", "Response", "is_error=true"],
    ]) {
        assert!(line.contains("shadowcat::audit"), "{line}");
        for part in parts.iter().chain(&[
            r#"id="7""#,
            r#"method="tools/call""#,
            r#"name="ec\nho""#,
            r#"subject="alice""#,
            r#"issuer="https://i""#,
        ]) {
            assert!(line.contains(part), "{part} in {line}");
        }
    }
    assert!(
        !log.contains("9007199254740993") && !log.contains("s3cret"),
        "{log}"
    );
    // Who only watches stops nothing.
    let open = Options::DEFAULT.with_pass_on_failure(true);
    assert_eq!(AuditLog::new(Interest::all()).options(), open);
}

/// What clients say fills no log.
#[tokio::test]
async fn audit_log_cuts_what_is_long() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let layer = InterceptLayer::new(AuditLog::new(Interest::requests("*")));
    let (id, name) = ("9".repeat(10_000), "ä".repeat(10_000));
    let long = call(&format!("\"x{name}\"")).replace(":7,", &format!(":{id},"));
    ask(&layer, &Server::json(RESULT), post(&long)).await;
    let other = LIST.replace("tools/list", &"m".repeat(10_000));
    ask(&layer, &Server::json(RESULT), post(&other)).await;
    let log = String::from_utf8(log.0.lock().expect("no panic").clone()).expect("UTF-8");
    for whole in [
        format!("id=\"{}\" ", "9".repeat(256)),
        format!("name=\"x{}\" ", "ä".repeat(127)),
        format!("method=\"{}\" ", "m".repeat(256)),
    ] {
        assert!(log.contains(&whole), "{log}");
    }
}
