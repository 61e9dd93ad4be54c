use bytes::Bytes;

use super::*;
use crate::protocol::ProtocolVersion;

fn costs() -> Costs {
    let mut costs = Costs::default();
    costs.add("tools/*", None, 5);
    costs.add("tools/call", Some("drop_*"), 50);
    costs.add("tools/call", Some("drop_cache"), 2);
    costs.add("ping", None, 0);
    costs
}

fn post(body: &str) -> Request<()> {
    let mut request = Request::post("/mcp").body(()).expect("a valid request");
    let message = Message::new(Bytes::copy_from_slice(body.as_bytes()));
    request.extensions_mut().insert(message);
    request
}

fn call(tool: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":{tool}}}}}"#)
}

fn cost(body: &str) -> Option<u32> {
    match costs().charge(&post(body)).expect("it was read") {
        Charged::With(charge) => Some(charge.cost()),
        Charged::Exempt => None,
    }
}

fn hold(request: &Request<()>) -> Option<Hold> {
    match costs().charge(request).expect("it was read") {
        Charged::With(charge) => charge.hold(),
        Charged::Exempt => None,
    }
}

const PING: &str = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
const LIST: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;
const RESULT: &str = r#"{"jsonrpc":"2.0","id":1,"result":{}}"#;
const FAILED: &str = r#"{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":""}}"#;
const CANCELLED: &str = r#"{"jsonrpc":"2.0","method":"notifications/cancelled"}"#;
const INITIALIZED: &str = r#"{"jsonrpc":"2.0","method":"notifications/\u0069nitialized"}"#;
const PROGRESS: &str = r#"{"jsonrpc":"2.0","method":"notifications/progress"}"#;

#[test]
fn last_rule_that_concerns_a_message_says_what_it_costs() {
    for (body, expected) in [
        (PING, 0),
        (LIST, 5),
        (&call(r#""echo""#), 5),
        (&call(r#""drop_table""#), 50),
        (&call(r#""drop\u005ftable""#), 50),
        (&call(r#""drop_cache""#), 2),
        // It may be any of them; the last one counts.
        (&call("7"), 2),
        (r#"{"jsonrpc":"2.0","id":1,"method":"prompts/list"}"#, 1),
        (r#"{"jsonrpc":"2.0","id":null,"method":"tools/list"}"#, 5),
        ("{}", 1),
        ("not JSON", 1),
    ] {
        assert_eq!(cost(body), Some(expected), "{body}");
    }
}

#[test]
fn rl_3_each_message_of_a_batch_costs_what_it_costs_alone() {
    let drop_table = call(r#""drop_table""#);
    assert_eq!(cost(&format!("[{LIST},{PING},{drop_table}]")), Some(55));
    assert_eq!(cost(&format!("[{RESULT},{CANCELLED},{LIST}]")), Some(5));
    assert_eq!(cost("[]"), Some(1));
    let many = [drop_table.as_str(); 3].join(",");
    let mut costs = Costs::default();
    costs.add("*", None, u32::MAX);
    let charged = costs.charge(&post(&format!("[{many}]")));
    let most = Charge::new(u32::MAX).with_hold(Some(Hold::Call));
    assert_eq!(charged, Ok(Charged::With(most)), "it does not begin anew");
}

#[test]
fn rl_4_what_somebody_waits_for_is_exempt() {
    for body in [RESULT, FAILED, CANCELLED, INITIALIZED] {
        assert_eq!(cost(body), None, "{body}");
        assert_eq!(cost(&format!("[{body},{RESULT}]")), None, "{body}");
    }
    assert_eq!(cost(PROGRESS), Some(1));
    // That is a request of somebody who would like to be exempt.
    let request = r#"{"jsonrpc":"2.0","id":1,"method":"notifications/cancelled"}"#;
    assert_eq!(cost(request), Some(1));
}

fn request(method: &str, fields: &[(&str, &str)]) -> Request<()> {
    let mut request = Request::builder().method(method).uri("/mcp");
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request.body(()).expect("a valid request")
}

const SESSION: (&str, &str) = ("mcp-session-id", "x");

/// B08: whoever guesses the ids of sessions may well do so with a method that ends one.
#[test]
fn rl_4_delete_is_exempt_where_somebody_knows_that_it_ends_a_session() {
    let era = |version: ProtocolVersion| Some(Era::from(version));
    let session = era(ProtocolVersion::V2025_11_25);
    for (fields, era, is_exempt) in [
        (&[SESSION][..], session, true),
        (&[], session, false),
        (&[SESSION], era(ProtocolVersion::V2024_11_05), false),
        (&[SESSION], Some(Era::Stateless), false),
        (&[SESSION], None, false),
        (&[], None, false),
    ] {
        let mut request = request("DELETE", fields);
        if let Some(era) = era {
            request.extensions_mut().insert(era);
        }
        let expected = if is_exempt {
            Charged::Exempt
        } else {
            with(1, Some(Hold::Call))
        };
        let charged = costs().charge(&request);
        assert_eq!(charged, Ok(expected), "{fields:?} {era:?}");
    }
}

#[test]
fn rl_4_only_options_that_are_a_preflight_are_exempt() {
    let preflight = request("OPTIONS", &[("access-control-request-method", "POST")]);
    assert_eq!(costs().charge(&preflight), Ok(Charged::Exempt));
    let one = with(1, Some(Hold::Call));
    for method in ["OPTIONS", "HEAD", "PUT", "PATCH", "MADE-UP"] {
        let charged = costs().charge(&request(method, &[]));
        assert_eq!(charged, Ok(one), "{method}");
    }
}

#[test]
fn rl_7_costs_of_messages_take_a_message() {
    let request = Request::post("/mcp").body(()).expect("a valid request");
    assert!(costs().charge(&request).is_err());
    let one = with(1, Some(Hold::Call));
    assert_eq!(Costs::default().charge(&request), Ok(one));
}

/// A response that is taken for a call could wait for the end of the call that waits for it.
#[test]
fn rl_4_unread_message_has_no_key_where_it_matters_what_is_open() {
    let counting = Costs {
        counts_open: true,
        ..Costs::default()
    };
    let one = with(1, Some(Hold::Call));
    for fields in [SESSION, ("mcp-protocol-version", "2025-11-25")] {
        let unread = request("POST", &[fields]);
        assert!(counting.charge(&unread).is_err(), "{fields:?}");
        assert_eq!(Costs::default().charge(&unread), Ok(one));
        let mut read = post(RESULT);
        read.headers_mut().extend(unread.headers().clone());
        assert_eq!(counting.charge(&read), Ok(Charged::Exempt));
    }
    assert_eq!(counting.charge(&request("POST", &[])), Ok(one), "not MCP");
}

#[test]
fn rl_5_requests_and_streams_are_kept_open_apart() {
    assert_eq!(hold(&post(LIST)), Some(Hold::Call));
    assert_eq!(hold(&post(PROGRESS)), None);
    assert_eq!(
        hold(&post(&format!("[{PROGRESS},{LIST}]"))),
        Some(Hold::Call)
    );
    assert_eq!(hold(&post(&format!("[{PROGRESS},{RESULT}]"))), None);
    // What is no message gets an answer, too.
    for body in ["{}", "[{}]", "not JSON", r#"[{"jsonrpc":"2.0","id":1}]"#] {
        assert_eq!(hold(&post(body)), Some(Hold::Call), "{body}");
    }

    let listen = r#"{"jsonrpc":"2.0","id":1,"method":"subscriptions/listen"}"#;
    assert_eq!(
        hold(&post(listen)),
        Some(Hold::Call),
        "that is no method there"
    );
    let mut request = post("");
    let message = Message::new(Bytes::from_static(listen.as_bytes()));
    request
        .extensions_mut()
        .insert(message.in_era(Era::Stateless));
    assert_eq!(hold(&request), Some(Hold::Stream));
    let stream = with(1, Some(Hold::Stream));
    let charged = Costs::default().charge(&request);
    assert_eq!(charged, Ok(stream), "nor without rules");
}

#[test]
fn rl_6_coming_back_has_a_budget_of_its_own() {
    let get = |costs: &Costs, fields, era: Option<Era>| {
        let mut request = request("GET", fields);
        if let Some(era) = era {
            request.extensions_mut().insert(era);
        }
        match costs.charge(&request).expect("there is no body") {
            Charged::With(charge) => (charge.budget(), charge.hold()),
            Charged::Exempt => panic!("it is charged"),
        }
    };
    let everywhere = Costs {
        has_resumes: true,
        ..costs()
    };
    let stream = ("accept", "application/json, Text/Event-Stream;q=0.5");
    let cursor = ("last-event-id", "x");
    let session = Some(Era::from(ProtocolVersion::V2025_06_18));
    let stateless = Some(Era::Stateless);
    let (requests, resumes) = (Budget::Requests, Budget::Resumes);
    let resumption = Hold::Resumption;
    // The last but one is where somebody has said how often one may come back.
    for (fields, era, budget, said, hold) in [
        (&[stream, cursor][..], None, requests, resumes, resumption),
        (&[cursor], None, requests, resumes, resumption),
        (&[cursor], session, resumes, resumes, resumption),
        (&[cursor], stateless, requests, resumes, resumption),
        (
            &[stream, ("last-event-id", "")],
            None,
            requests,
            requests,
            Hold::Stream,
        ),
        (&[stream], None, requests, requests, Hold::Stream),
        (&[stream], session, resumes, resumes, Hold::Stream),
        (&[stream], stateless, requests, requests, Hold::Stream),
        (
            &[("accept", "text/html")],
            session,
            requests,
            requests,
            Hold::Call,
        ),
        (&[], None, requests, requests, Hold::Call),
    ] {
        let had = get(&costs(), fields, era);
        assert_eq!(had, (budget, Some(hold)), "{fields:?} {era:?}");
        let had = get(&everywhere, fields, era);
        assert_eq!(had, (said, Some(hold)), "{fields:?} {era:?}");
    }
}
