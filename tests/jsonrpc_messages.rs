//! What bodies are refused, and what is read from the others: the tables.

use std::borrow::Cow;

use shadowcat::jsonrpc::{Claim, Envelope, Kind, Limits, PeekErrorKind, peek, peek_within};

fn single(body: &str) -> Envelope<'_> {
    let peek = peek(body.as_bytes()).unwrap_or_else(|error| panic!("{body}: {error}"));
    peek.single().expect("no batch")
}

fn refusal(body: impl AsRef<[u8]>) -> (PeekErrorKind, usize) {
    let error = peek(body.as_ref()).expect_err("not refused");
    (error.kind(), error.offset())
}

/// `levels` arrays inside each other, as an argument of a call.
fn nested(levels: usize) -> String {
    format!("{}{}", "[".repeat(levels), "]".repeat(levels))
}

#[test]
fn a40_nothing_is_no_json_and_scalars_are_no_message() {
    assert_eq!(refusal(""), (PeekErrorKind::Syntax, 0));
    assert_eq!(refusal(" \r\n\t"), (PeekErrorKind::Syntax, 4));
    for body in ["null", "42", "\"x\"", "true", " false ", "-0.5e-3", "{}"] {
        assert_eq!(single(body).kind(), Kind::Invalid, "{body}");
        assert_eq!(single(body).raw(), body.trim().as_bytes(), "{body}");
    }
}

#[test]
fn a41_what_is_not_quite_json_is_refused_where_it_goes_wrong() {
    for (body, offset) in [
        (r#"{"id":1"#, 7),
        (r#"{"id":"#, 6),
        (r#"{"id"#, 4),
        (r#"{"id":1,}"#, 8),
        (r#"{"params":[1,]}"#, 13),
        (r#"{"a":{"b":1,}}"#, 12),
        (r#"{"a":[1}}"#, 7),
        (r#"{"a":{"b":1]}"#, 11),
        (r#"{"a" 1}"#, 5),
        (r#"{"a":[{"b" 1}]}"#, 11),
        ("{1:2}", 1),
        ("{}{}", 2),
        ("{} x", 3),
        ("{},", 2),
        ("NaN", 0),
        ("nul", 0),
        ("-", 1),
        ("01", 1),
        ("1.", 2),
        ("1e", 2),
        (".5", 0),
        ("+1", 0),
        ("-Infinity", 1),
        (r#"{"a":1/**/}"#, 6),
        ("{'a':1}", 1),
        ("[", 1),
        ("[{}", 3),
        ("[{},]", 4),
    ] {
        assert_eq!(refusal(body), (PeekErrorKind::Syntax, offset), "{body}");
    }
}

#[test]
fn a42_text_that_some_parsers_forgive_is_refused() {
    for (body, kind, offset) in [
        (&b"\xEF\xBB\xBF{}"[..], PeekErrorKind::Syntax, 0),
        (b"{\0}\0", PeekErrorKind::Syntax, 1),
        (b"\xFF\xFE{\0}\0", PeekErrorKind::Utf8, 0),
        (b"{\"a\":\"\xC0\xAF\"}", PeekErrorKind::Utf8, 6),
        (b"{\"a\":\"\xED\xA0\x80\"}", PeekErrorKind::Utf8, 6),
        (b"{\"a\":\"\0\"}", PeekErrorKind::Syntax, 6),
        (
            b"{\"a\":\"long enough for a word \n\"}",
            PeekErrorKind::Syntax,
            29,
        ),
        (b"{\"a\x1F\":1}", PeekErrorKind::Syntax, 3),
        (br#"{"a":"\ud800"}"#, PeekErrorKind::Syntax, 6),
        (br#"{"a":"\ud800\u0061"}"#, PeekErrorKind::Syntax, 6),
        (br#"{"a":"\udc00"}"#, PeekErrorKind::Syntax, 6),
        (br#"{"a":"\udc00\udc00"}"#, PeekErrorKind::Syntax, 6),
        (br#"{"a":"\ud800\ud800"}"#, PeekErrorKind::Syntax, 6),
        (br#"{"a":"\u12"}"#, PeekErrorKind::Syntax, 6),
        (br#"{"a":"\u+123"}"#, PeekErrorKind::Syntax, 6),
        (br#"{"a":"\x41"}"#, PeekErrorKind::Syntax, 6),
        (br#"{"a":"\"#, PeekErrorKind::Syntax, 6),
    ] {
        assert_eq!(refusal(body), (kind, offset), "{}", body.escape_ascii());
    }
    assert_eq!(single(r#"{"a":"\ud83d\ude00 é"}"#).kind(), Kind::Invalid);
}

#[test]
fn a43_depth_is_limited_and_costs_no_stack() {
    for (levels, accepted) in [(127, true), (128, false), (129, false), (1_000_000, false)] {
        let in_params = format!(r#"{{"id":1,"params":{}}}"#, nested(levels - 1));
        let in_batch = nested(levels);
        for body in [in_params, in_batch] {
            match peek(body.as_bytes()) {
                Ok(_) => assert!(accepted, "{levels}"),
                Err(error) => {
                    assert!(!accepted, "{levels}: {error}");
                    assert_eq!(error.kind(), PeekErrorKind::Depth);
                }
            }
        }
    }
    // The keys that are looked into count, too.
    let body = r#"{"params":{"_meta":{"a":[]}}}"#;
    for depth in 0..6 {
        let limits = Limits::new().with_max_depth(depth);
        assert_eq!(
            peek_within(body.as_bytes(), limits).is_ok(),
            depth >= 4,
            "{depth}"
        );
    }
    let most = Limits::new().with_max_depth(usize::MAX);
    assert!(peek_within(nested(128).as_bytes(), most).is_ok());
    assert!(peek_within(nested(129).as_bytes(), most).is_err());
}

#[test]
fn a46_escaped_keys_are_the_keys_that_they_equal() {
    let call = single(
        r#"{"\u006dethod":"tools\/c\u0061ll","\u0069\u0064":1,"jsonrp\u0063":"2\u002e0",
        "\u0070arams":{"n\u0061me":"rm","_m\u0065ta":
        {"io.modelcontextprotocol\/protocol\u0056ersion":"2026-07-28"}}}"#,
    );
    assert_eq!(call.kind(), Kind::Request);
    assert_eq!(call.method().as_deref(), Some("tools/call"));
    assert_eq!(call.name().as_deref(), Some("rm"));
    assert_eq!(call.claim(), Claim::Version("2026-07-28".into()));
    assert!(call.is_jsonrpc_2());
    // As are the ones that a plain key repeats.
    let call = single(r#"{"method":"tools/list","\u006dethod":"tools/call","id":1}"#);
    assert_eq!(call.method().as_deref(), Some("tools/call"));
    assert_eq!(call.duplicate(), Some("method"));
    // A quote in a key ends nothing.
    let other = single(r#"{"method\"":"a","\u006dethod\u0022x":"b","id\\":1}"#);
    assert_eq!((other.kind(), other.method()), (Kind::Invalid, None));
}

#[test]
fn keys_that_only_resemble_a_known_one_are_others() {
    let body = format!(
        r#"{{"Method":"a","methods":"b","metho":"c"," method":"d","{}\u0061":"e","é\u0061":"f",
        "\u00e9":"g","":"h","params":{{"params":{{"name":"i"}},"method":"j","id":1}}}}"#,
        "io.modelcontextprotocol/protocolVersion".repeat(3),
    );
    let message = single(&body);
    assert_eq!(message.kind(), Kind::Invalid);
    assert_eq!((message.method(), message.id_raw()), (None, None));
    assert_eq!((message.name(), message.duplicate()), (None, None));
}

#[test]
fn a47_batches_hand_out_every_element() {
    let body = br#" [ {"id":1,"method":"a"} , [{"id":2,"method":"b"}],3 ,{"method":"c"}] "#;
    let peek = peek(body).expect("valid");
    assert!(peek.is_batch() && peek.single().is_none());
    let kinds: Vec<_> = peek.envelopes().map(|message| message.kind()).collect();
    assert_eq!(
        kinds,
        [
            Kind::Request,
            Kind::Invalid,
            Kind::Invalid,
            Kind::Notification
        ],
    );
    let raw: Vec<_> = peek.envelopes().map(|message| message.raw()).collect();
    assert_eq!(raw[0], br#"{"id":1,"method":"a"}"#);
    assert_eq!(raw[1], br#"[{"id":2,"method":"b"}]"#);
    assert_eq!(raw[2], b"3");
}

#[test]
fn a47_batches_are_limited_and_may_be_empty() {
    let empty = peek(b"[ ]").expect("valid");
    assert!(empty.is_batch());
    assert_eq!(empty.envelopes().len(), 0);
    let batch = |len: usize| format!("[{}]", vec!["{}"; len].join(","));
    assert_eq!(
        peek(batch(1_000).as_bytes()).map(|batch| batch.envelopes().len()),
        Ok(1_000)
    );
    let (kind, offset) = refusal(batch(10_000));
    assert_eq!(
        (kind, offset),
        (PeekErrorKind::TooManyMessages, 1 + 3 * 1_000)
    );
    let limits = Limits::new().with_max_messages(1);
    assert!(peek_within(b"[1]", limits).is_ok());
    assert!(peek_within(b"[1,2]", limits).is_err());
}

#[test]
fn a48_only_the_string_2_0_is_json_rpc_2_0() {
    for (body, expected) in [
        (r#"{"jsonrpc":"2.0"}"#, true),
        (r#"{"jsonrpc":"\u0032.0"}"#, true),
        ("{}", false),
        (r#"{"jsonrpc":"1.0"}"#, false),
        (r#"{"jsonrpc":2.0}"#, false),
        (r#"{"jsonrpc":"2.0 "}"#, false),
        (r#"{"jsonrpc":"2.0","jsonrpc":"1.0"}"#, false),
    ] {
        assert_eq!(single(body).is_jsonrpc_2(), expected, "{body}");
    }
}

#[test]
fn a50_a53_the_kind_follows_from_the_keys_that_are_there() {
    for (body, kind) in [
        (r#"{"id":1,"method":"tools/call"}"#, Kind::Request),
        (r#"{"method":"tools/call"}"#, Kind::Notification),
        (r#"{"method":"a","id":null}"#, Kind::Invalid),
        (r#"{"method":1,"id":1}"#, Kind::Invalid),
        (r#"{"method":null}"#, Kind::Invalid),
        (r#"{"id":1}"#, Kind::Invalid),
        (r#"{"id":1,"result":null}"#, Kind::Response),
        (r#"{"id":"a","error":{}}"#, Kind::Response),
        (r#"{"error":{}}"#, Kind::Response),
        (r#"{"id":null,"error":{}}"#, Kind::Response),
        (r#"{"id":1.5,"error":{}}"#, Kind::Invalid),
        (r#"{"result":{}}"#, Kind::Invalid),
        (r#"{"id":null,"result":{}}"#, Kind::Invalid),
        (r#"{"id":1,"result":{},"error":{}}"#, Kind::Invalid),
        (r#"{"id":1,"result":{},"error":null}"#, Kind::Invalid),
        (r#"{"id":1,"method":"a","result":{}}"#, Kind::Invalid),
        (r#"{"method":"a","error":{}}"#, Kind::Invalid),
    ] {
        assert_eq!(single(body).kind(), kind, "{body}");
    }
}

#[test]
fn a56_the_text_of_a_method_is_handed_on_as_it_is() {
    let long = "m".repeat(1 << 20);
    for method in ["", "rpc.x", "a\nb", "\u{1b}[31m", &long, "tools/call "] {
        let body = serde_json::json!({ "id": 1, "method": method }).to_string();
        assert_eq!(single(&body).method().as_deref(), Some(method));
        assert_eq!(single(&body).kind(), Kind::Request);
        // What a log line shows of it stays on its line.
        let shown = format!("{:?}", single(&body));
        assert!(!shown.contains(|shown: char| shown.is_control()));
    }
    let plain = single(r#"{"method":"a"}"#).method();
    assert!(matches!(plain, Some(Cow::Borrowed("a"))));
}

#[test]
fn hdr_1_the_mirrored_name_depends_on_the_method() {
    for (method, name) in [
        ("tools/call", Some("n")),
        ("prompts/get", Some("n")),
        ("resources/read", Some("u")),
        ("tasks/get", Some("t")),
        ("tasks/update", Some("t")),
        ("tasks/cancel", Some("t")),
        ("tasks/list", None),
        ("Tools/call", None),
        ("tools/list", None),
    ] {
        for body in [
            format!(r#"{{"method":"{method}","params":{{"name":"n","uri":"u","taskId":"t"}}}}"#),
            format!(r#"{{"params":{{"taskId":"t","uri":"u","name":"n"}},"method":"{method}"}}"#),
        ] {
            assert_eq!(single(&body).name().as_deref(), name, "{body}");
        }
    }
    assert_eq!(
        single(r#"{"method":"tools/call","params":{"name":1}}"#).name(),
        None
    );
    assert_eq!(
        single(r#"{"method":"tools/call","params":["name"]}"#).name(),
        None
    );
    assert_eq!(single(r#"{"method":"tools/call","name":"n"}"#).name(), None);
}

#[test]
fn a_claim_that_is_no_string_is_not_an_absent_one() {
    let with = |meta: &str| format!(r#"{{"method":"a","params":{{"_meta":{meta}}}}}"#);
    let key = "io.modelcontextprotocol/protocolVersion";
    for (meta, claim) in [
        (
            format!(r#"{{"{key}":"2026-07-28"}}"#),
            Claim::Version("2026-07-28".into()),
        ),
        (format!(r#"{{"{key}":""}}"#), Claim::Version("".into())),
        (format!(r#"{{"{key}":20260728}}"#), Claim::NotAString),
        (format!(r#"{{"{key}":null}}"#), Claim::NotAString),
        (format!(r#"{{"{key}":{{}}}}"#), Claim::NotAString),
        ("{}".to_owned(), Claim::Absent),
        ("null".to_owned(), Claim::Absent),
        (format!("[\"{key}\"]"), Claim::Absent),
        (
            format!(r#"{{"nested":{{"{key}":"2026-07-28"}}}}"#),
            Claim::Absent,
        ),
    ] {
        assert_eq!(single(&with(&meta)).claim(), claim, "{meta}");
    }
}

#[test]
fn handshake_version_and_progress_token_are_read_where_they_belong() {
    let body = r#"{"method":"initialize","params":{"protocolVersion":"2025-06-18",
        "_meta":{"progressToken": 1e0 }}}"#;
    assert_eq!(
        single(body).handshake_version().as_deref(),
        Some("2025-06-18")
    );
    assert_eq!(single(body).progress_token_raw(), Some("1e0"));
    assert_eq!(
        single(&body.replace("initialize", "ping")).handshake_version(),
        None
    );
    assert_eq!(
        single(r#"{"method":"initialize"}"#).handshake_version(),
        None
    );
}

#[test]
fn jrp_10_the_last_of_several_keys_counts_and_the_first_repetition_is_told() {
    let claim = r#""io.modelcontextprotocol/protocolVersion""#;
    // The longest key there is, with an escape.
    let capabilities = r#""io.modelcontextprotocol/clientCapabilitie\u0073""#;
    for (body, duplicate) in [
        (
            r#"{"method":"a","id":1,"jsonrpc":"2.0","params":{}}"#.to_owned(),
            None,
        ),
        (
            r#"{"x":1,"x":2,"params":{"arguments":{"name":1,"name":2}}}"#.to_owned(),
            None,
        ),
        (
            r#"{"jsonrpc":"2.0","jsonrpc":"2.0"}"#.to_owned(),
            Some("jsonrpc"),
        ),
        (
            r#"{"id":1,"method":"a","id":1,"method":"a"}"#.to_owned(),
            Some("id"),
        ),
        (r#"{"params":1,"params":2}"#.to_owned(), Some("params")),
        (r#"{"result":1,"result":2}"#.to_owned(), Some("result")),
        (r#"{"error":1,"error":2}"#.to_owned(), Some("error")),
        (
            r#"{"params":{"name":1,"name":2}}"#.to_owned(),
            Some("params.name"),
        ),
        (
            r#"{"params":{"uri":1,"\u0075ri":2}}"#.to_owned(),
            Some("params.uri"),
        ),
        (
            r#"{"params":{"taskId":1,"taskId":2}}"#.to_owned(),
            Some("params.taskId"),
        ),
        (
            r#"{"params":{"_meta":{},"_meta":1}}"#.to_owned(),
            Some("params._meta"),
        ),
        (
            r#"{"params":{"protocolVersion":1,"protocolVersion":2}}"#.to_owned(),
            Some("params.protocolVersion"),
        ),
        (
            format!(r#"{{"params":{{"_meta":{{{claim}:1,{claim}:2}}}}}}"#),
            Some("params._meta.io.modelcontextprotocol/protocolVersion"),
        ),
        (
            format!(r#"{{"params":{{"_meta":{{{capabilities}:1,{capabilities}:2}}}}}}"#),
            Some("params._meta.io.modelcontextprotocol/clientCapabilities"),
        ),
        (
            r#"{"params":{"_meta":{"progressToken":1,"progressToken":2}}}"#.to_owned(),
            Some("params._meta.progressToken"),
        ),
        // Each of two objects has its own keys.
        (
            r#"{"params":{"name":1},"params":{"name":2}}"#.to_owned(),
            Some("params"),
        ),
    ] {
        assert_eq!(single(&body).duplicate(), duplicate, "{body}");
    }
    let body = format!(
        r#"{{"method":"tools/call","params":{{"name":"a","_meta":{{{claim}:"b","progressToken":1}}}},
        "params":{{"_meta":{{"progressToken":2}}}}}}"#,
    );
    let message = single(&body);
    assert_eq!((message.name(), message.claim()), (None, Claim::Absent));
    assert_eq!(message.progress_token_raw(), Some("2"));
    let body = body.replace(
        "\"_meta\":{\"progressToken\":2}",
        "\"_meta\":{},\"_meta\":null",
    );
    assert_eq!(single(&body).progress_token_raw(), None);
}

/// Go's `encoding/json` takes `Method` for `method`, and the last of them counts: a policy judged
/// another message than the one that ran (GHSA-wvj2-96wp-fq3f).
#[test]
fn jrp_10_a_key_that_equals_a_read_one_but_for_its_case_is_told() {
    let claim = "params._meta.io.modelcontextprotocol/protocolVersion";
    let capabilities = "params._meta.io.modelcontextprotocol/clientCapabilities";
    for (body, ambiguous) in [
        (r#"{"method":"a","Method":"b"}"#, Some("method")),
        (r#"{"METHOD":"b"}"#, Some("method")),
        (r#"{"\u004dethod":"b"}"#, Some("method")),
        (r#"{"Id":1}"#, Some("id")),
        (r#"{"JsonRPC":"2.0"}"#, Some("jsonrpc")),
        (r#"{"Result":1,"Error":2}"#, Some("result")),
        (r#"{"erroR":1}"#, Some("error")),
        // What is another case of an ASCII letter, written out and escaped.
        (r#"{"paramſ":{}}"#, Some("params")),
        (r#"{"param\u017f":{}}"#, Some("params")),
        (r#"{"İd":1}"#, Some("id")),
        (r#"{"ıd":1}"#, Some("id")),
        (r#"{"params":{"tas\u212aid":1}}"#, Some("params.taskId")),
        ("{\"params\":{\"tas\u{212a}Id\":1}}", Some("params.taskId")),
        (r#"{"params":{"name":"a","Name":"b"}}"#, Some("params.name")),
        (r#"{"params":{"URI":"b"}}"#, Some("params.uri")),
        (r#"{"params":{"_Meta":{}}}"#, Some("params._meta")),
        (
            r#"{"params":{"protocolversion":1}}"#,
            Some("params.protocolVersion"),
        ),
        (
            r#"{"params":{"_meta":{"progresstoken":1}}}"#,
            Some("params._meta.progressToken"),
        ),
        (
            r#"{"params":{"_meta":{"IO.modelcontextprotocol/protocolVersion":1}}}"#,
            Some(claim),
        ),
        (
            r#"{"params":{"_meta":{"io.modelcontextprotocol/clientcapabilitieſ":1}}}"#,
            Some(capabilities),
        ),
        // It is told even where a second `params` takes the place of its own.
        (r#"{"params":{"Name":1},"params":{}}"#, Some("params.name")),
        // The right keys; others of the same length, or in other objects, or that are no case of it.
        (r#"{"method":"a","params":{"name":"a","_meta":{}}}"#, None),
        (r#"{"m\u0065thod":"a","metho\u0064s":"b"}"#, None),
        (r#"{"params":{"cursor":"a","level":1,"Method":1}}"#, None),
        (r#"{"Name":1,"params":{"arguments":{"Name":1}}}"#, None),
        (
            r#"{"params":{"_meta":{"Name":1,"Progress\"Token":1}}}"#,
            None,
        ),
        (r#"{"méthod":1,"mеthod":2,"ſ":3,"params\u0000":4}"#, None),
        (r#"[{"Params":{}}]"#, Some("params")),
    ] {
        let peek = peek(body.as_bytes()).expect("it is JSON");
        let message = peek.envelopes().next().expect("it has a message");
        assert_eq!(message.ambiguous(), ambiguous, "{body}");
    }
    // Each message of a batch answers for itself.
    let batch = peek(br#"[{"Id":1},{"id":1},7,{"ID":1}]"#).expect("it is JSON");
    let told: Vec<_> = batch
        .envelopes()
        .map(|message| message.ambiguous())
        .collect();
    assert_eq!(told, [Some("id"), None, None, Some("id")]);
}

#[test]
fn a63_a_million_keys_or_elements_are_read_without_being_kept() {
    let keys = r#""\u0061":0,"#.repeat(1_000_000);
    let body = format!(
        r#"{{{keys}"method":"a","params":[{}1]}}"#,
        "0,".repeat(1_000_000)
    );
    assert_eq!(single(&body).kind(), Kind::Notification);
}
