//! Random chains on random traffic, in random chunks: IC-1…4, SS-1…4.

mod intercept_support;

use std::time::Duration;

use bytes::Bytes;
use intercept_support::{Seen, Server, ask, post};
use proptest::prelude::*;
use shadowcat::{
    intercept::{self, Chain, Direction, InterceptLayer, Interest, Message, Verdict},
    jsonrpc::{ErrorObject, Kind},
    sse::{Decoder, Event, Frame},
};

/// How an interceptor behaves, towards every message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Does {
    Continue,
    Late,
    Edit,
    Refuse,
    Respond,
    Delay,
    Panic,
    Forge,
    Overdo,
}

fn does() -> impl Strategy<Value = Does> {
    use Does::{Continue, Delay, Edit, Forge, Late, Overdo, Panic, Refuse, Respond};
    prop_oneof![
        4 => Just(Continue),
        2 => Just(Late),
        2 => Just(Edit),
        1 => Just(Refuse),
        1 => Just(Respond),
        1 => Just(Delay),
        1 => Just(Panic),
        1 => Just(Forge),
        1 => Just(Overdo),
    ]
}

/// Harmless ones change nothing.
fn harmless() -> impl Strategy<Value = Does> {
    prop_oneof![Just(Does::Continue), Just(Does::Late), Just(Does::Delay)]
}

const MAX: usize = 4_000;

fn verdict(does: Does, name: usize, message: &Message) -> Verdict {
    match does {
        Does::Continue | Does::Late => Verdict::Continue,
        Does::Delay => Verdict::Delay(Duration::from_millis(1)),
        Does::Edit => {
            let mut edit = message.edit();
            let key = if message.kind() == Kind::Response {
                "result"
            } else {
                "params"
            };
            // What has none of them stays as it is.
            let _ = edit.set(&format!("/{key}/by{name}"), "1");
            edit.into()
        }
        Does::Refuse => Verdict::Refuse(ErrorObject::new(-1, format!("refused by {name}")).into()),
        Does::Respond => Verdict::Respond(Bytes::from(format!("{{\"mock\":{name}}}"))),
        Does::Panic => panic!("by {name}"),
        Does::Forge => Verdict::Replace(r#"{"jsonrpc":"2.0","id":"forged","result":{}}"#.into()),
        Does::Overdo => {
            let mut edit = message.edit();
            let big = format!("\"{}\"", "x".repeat(MAX));
            let key = if message.kind() == Kind::Response {
                "result"
            } else {
                "params"
            };
            match edit.set(&format!("/{key}/big"), &big) {
                Ok(()) => edit.into(),
                Err(_) => Verdict::Replace(big.into()),
            }
        }
    }
}

fn chain(all: &[Does], seen: &Seen) -> Chain {
    all.iter()
        .enumerate()
        .fold(Chain::new(), |chain, (name, &does)| {
            let seen = seen.clone();
            let note = move |cx: &intercept::Context, message: &Message| {
                let way = if cx.direction() == Direction::ToServer {
                    '>'
                } else {
                    '<'
                };
                seen.note(format!("{way}{name} {:?}", message.envelope().id_raw()));
            };
            match does {
                Does::Late => chain.add_interceptor(intercept::async_fn(
                    Interest::all(),
                    move |cx, message| {
                        note(&cx, &message);
                        async {
                            tokio::task::yield_now().await;
                            Ok(Verdict::Continue)
                        }
                    },
                )),
                does => chain.add_interceptor(intercept::sync_fn(
                    Interest::all(),
                    move |cx, message| {
                        note(cx, message);
                        verdict(does, name, message)
                    },
                )),
            }
        })
}

fn text() -> impl Strategy<Value = String> {
    // What JSON, events and UTF-8 make something of.
    "[a-z\"\\\\ \u{0}-\u{1f}{}:,é€😀]{0,12}"
}

fn value() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        text().prop_map(|text| serde_json::Value::from(text).to_string()),
        Just("9007199254740993".to_owned()),
        Just("1.00".to_owned()),
        Just("-0".to_owned()),
        Just("null".to_owned()),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3)
                .prop_map(|all| format!("[{}]", all.join(" , "))),
            (inner.clone(), inner).prop_map(|(a, b)| format!("{{ \"a\":{a},\"b\" : {b}}}")),
        ]
    })
}

/// What a server says in the stream of request 7; the last is its response.
fn said() -> impl Strategy<Value = Vec<String>> {
    let one = prop_oneof![
        (0..3_u32, value()).prop_map(|(n, v)| format!(
            r#"{{"jsonrpc":"2.0","method":"notifications/{n}","params":{{"v":{v}}}}}"#
        )),
        (0..3_u32, value()).prop_map(|(n, v)| format!(
            r#"{{"params":{{"v":{v}}},"method":"sampling/x","id":"s{n}","jsonrpc":"2.0"}}"#
        )),
    ];
    (prop::collection::vec(one, 0..5), value()).prop_map(|(mut all, v)| {
        all.push(format!(
            r#"{{"jsonrpc":"2.0","id":7, "result":{{"v":{v}}} }}"#
        ));
        all
    })
}

/// A stream of these messages, in the shapes that servers write.
fn stream(messages: &[String], shapes: &[u8]) -> String {
    let mut out = String::new();
    for (nth, message) in messages.iter().enumerate() {
        let end = ["\n", "\r\n", "\r"][usize::from(shapes[nth % shapes.len()] % 3)];
        match shapes[nth % shapes.len()] / 3 % 4 {
            0 => {}
            1 => out += &format!("id: {nth}{end}"),
            2 => out += &format!("event: message{end}retry: 5{end}x: y{end}"),
            _ => out += &format!(": note{end}{end}"),
        }
        out += &format!("data: {message}{end}{end}");
    }
    out
}

fn messages(stream: &str) -> Vec<String> {
    intercept_support::data(stream)
}

fn call(params: &str) -> String {
    format!(
        r#"{{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{{"name":"echo","arguments":{params}}}}}"#
    )
}

fn runs<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build();
    runtime.expect("a runtime").block_on(test)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    /// IC-1, SS-1, SS-2: those who change nothing give the same bytes, however they are cut.
    #[test]
    fn ic_1_identity_chain_is_identity_bytes(
        chain_of in prop::collection::vec(harmless(), 1..4),
        said in said(),
        shapes in prop::collection::vec(any::<u8>(), 1..6),
        cut in 1_usize..40,
        arguments in value(),
    ) {
        let stream = stream(&said, &shapes);
        let request = call(&arguments);
        runs(async {
            let layer = InterceptLayer::new(chain(&chain_of, &Seen::default()));
            let server = Server::stream(&stream).cut(cut);
            let had = ask(&layer, &server, post(&request)).await;
            assert_eq!(had.body, stream);
            assert_eq!(server.one().1, request);
        });
    }

    /// IC-3: each is asked once about each message, to the server from the first to the last and back from
    /// the last to the first.
    #[test]
    fn ic_3_each_is_asked_once_in_order(
        chain_of in prop::collection::vec(
            prop_oneof![harmless(), Just(Does::Edit)], 1..5),
        said in said(),
        cut in 1_usize..40,
    ) {
        let seen = Seen::default();
        runs(async {
            let layer = InterceptLayer::new(chain(&chain_of, &seen));
            let server = Server::stream(&stream(&said, &[0])).cut(cut);
            ask(&layer, &server, post(&call("1"))).await;
        });
        let mut expected: Vec<_> =
            (0..chain_of.len()).map(|name| format!(">{name} Some(\"7\")")).collect();
        for text in &said {
            let message = Message::read(text.clone()).expect("a message");
            for name in (0..chain_of.len()).rev() {
                expected.push(format!("<{name} {:?}", message.envelope().id_raw()));
            }
        }
        prop_assert_eq!(seen.take(), expected);
    }

    /// IC-2, IC-4: whatever they do, what gets there is the request itself, or nothing; and the client has
    /// one answer to it, whole events only, and nothing that is too long.
    #[test]
    fn ic_4_ids_and_directions_stay_whatever_they_do(
        chain_of in prop::collection::vec(does(), 1..5),
        said in said(),
        shapes in prop::collection::vec(any::<u8>(), 1..6),
        cut in 1_usize..40,
        in_json in any::<bool>(),
    ) {
        let request = call("{}");
        let server = if in_json {
            Server::json(said.last().expect("a response"))
        } else {
            Server::stream(&stream(&said, &shapes))
        };
        let server = server.cut(cut);
        let had = runs(async {
            let layer = InterceptLayer::new(chain(&chain_of, &Seen::default()))
                .with_max_message_bytes(MAX);
            ask(&layer, &server, post(&request)).await
        });
        let is_stream = had.headers["content-type"] == "text/event-stream";
        let answers = if is_stream { messages(&had.body) } else { vec![had.body.clone()] };
        let mut responses = 0;
        for answer in &answers {
            prop_assert!(answer.len() <= MAX + 200, "{}", answer.len());
            let message = Message::read(answer.clone()).expect("a message");
            if message.kind() == Kind::Response {
                prop_assert_eq!(message.envelope().id_raw(), Some("7"));
                responses += 1;
            }
        }
        prop_assert_eq!(responses, 1, "{}", had.body);
        // Which of them stop a request, and which fail on one.
        let stops = |does: &Does| !matches!(
            does, Does::Continue | Does::Late | Does::Delay | Does::Edit);
        if chain_of.iter().any(stops) {
            prop_assert!(!server.was_asked());
            let fails = |does: &&Does| !matches!(does, Does::Refuse | Does::Respond);
            let first = chain_of.iter().find(|does| stops(does));
            prop_assert_eq!(had.status == 500, first.is_some_and(|does| fails(&does)));
        } else {
            let (_, sent) = server.one();
            let sent = Message::read(sent).expect("a message");
            prop_assert_eq!(sent.envelope().id_raw(), Some("7"));
            let name = sent.envelope().name();
            prop_assert_eq!(name.as_deref(), Some("echo"));
        }
    }

    /// SS-4: an event with other data is one event with these data, and everything else that it had.
    #[test]
    fn ss_4_edited_event_reads_as_one_event(
        said in said(),
        shapes in prop::collection::vec(any::<u8>(), 1..6),
        cut in 1_usize..40,
        breaks in any::<bool>(),
    ) {
        let text = stream(&said, &shapes);
        let result = if breaks { "[1,\r\n2,\n3]" } else { "[1]" };
        let mock = intercept::sync_fn(Interest::responses("*"), move |_, _| {
            Verdict::Respond(result.into())
        });
        let had = runs(async {
            ask(&InterceptLayer::new(mock), &Server::stream(&text).cut(cut), post(&call("1"))).await
        });
        let decode = |text: &str| {
            let mut chunk = Bytes::copy_from_slice(text.as_bytes());
            let mut decoder = Decoder::new();
            let mut all = Vec::new();
            while let Some(frame) = decoder.decode(&mut chunk).expect("small") {
                if let Frame::Event(event) = frame {
                    let data = event.data().map(|data| String::from_utf8_lossy(&data).into_owned());
                    let id = event.id().map(<[u8]>::to_vec);
                    all.push((id, event.event().map(<[u8]>::to_vec), event.retry(), data));
                }
            }
            all
        };
        let mut expected = decode(&text);
        let last = expected.last_mut().expect("the response");
        let lines = result.replace("\r\n", "\n");
        last.3 = Some(format!(r#"{{"jsonrpc":"2.0","id":7,"result":{lines}}}"#));
        prop_assert_eq!(decode(&had.body), expected);
    }
}

/// SS-3, A63: many keys, elements and levels take time in proportion to their number.
#[test]
fn a63_much_of_anything_takes_time_in_proportion() {
    let tools = |count: usize| {
        let tools: Vec<_> = (0..count)
            .map(|nth| format!(r#"{{"name":"{}{nth}"}}"#, ["drop_", "keep_"][nth % 2]))
            .collect();
        format!(
            r#"{{"jsonrpc":"2.0","id":"a","result":{{"tools":[{}]}}}}"#,
            tools.join(",")
        )
    };
    let layer = InterceptLayer::new(intercept::ToolFilter::deny(["drop_*"]));
    // If each that goes read all of it again, this would be a hundred thousand times three megabytes.
    let list = tools(100_000);
    let had = runs(ask(
        &layer,
        &Server::json(&list),
        post(intercept_support::LIST),
    ));
    assert_eq!(had.body.matches("keep_").count(), 50_000);
    assert!(!had.body.contains("drop_") && Message::read(had.body).is_some());
    // And an event, for the encoder.
    let event = Event::message(list).encode();
    let server = Server::new("text/event-stream", vec![event]).cut(1_000);
    let had = runs(ask(&layer, &server, post(intercept_support::LIST)));
    assert_eq!(had.body.matches("keep_").count(), 50_000);
}
