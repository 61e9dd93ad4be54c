//! Interceptors between rmcp's client and rmcp's server, both unmodified, over sockets: with sessions and
//! replay outside, and a proxy inside.

mod support;

use std::net::Ipv4Addr;

use hyper::{body::Incoming, server::conn::http1};
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use serde_json::json;
use shadowcat::{
    body::RequestBody,
    intercept::{
        Direction, HeldMessage, InterceptHandle, InterceptLayer, Interest, Links, Pause,
        PauseHandle, Redact, ToolFilter, Verdict, sync_fn,
    },
    jsonrpc::Kind,
    message::MessageLayer,
    proxy::ReverseProxy,
    replay::ReplayLayer,
    session::SessionLayer,
};
use tokio::net::TcpListener;
use tower::ServiceBuilder;

use self::support::{
    client::{Client, Heard},
    endpoint::{Demo, demo_server},
    within_limit,
};

/// A gateway with these interceptors in front of the demo server.
struct Gateway {
    url: String,
    handle: InterceptHandle,
    _demo: Demo,
}

async fn gateway(links: impl Links) -> Gateway {
    let demo = demo_server().await;
    let intercept = InterceptLayer::new(links);
    let handle = intercept.handle();
    let upstream = demo.url.parse().expect("a URL");
    let proxy = ReverseProxy::builder(&upstream).expect("usable");
    let service = ServiceBuilder::new()
        .layer(MessageLayer::new())
        .layer(SessionLayer::default().allow_anonymous())
        .layer(ReplayLayer::default())
        .layer(intercept)
        .service(proxy.build::<RequestBody<Incoming>>());
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
    let listener = listener.expect("a free port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = TowerToHyperService::new(service.clone());
            let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            // Whoever goes away does so in the middle of something.
            tokio::spawn(async move { drop(connection.await) });
        }
    });
    Gateway {
        url: format!("http://{address}/mcp"),
        handle,
        _demo: demo,
    }
}

/// A client of each era.
async fn clients(url: &str) -> [Client; 2] {
    [Client::connect(url).await, Client::discover(url).await]
}

#[tokio::test]
async fn tool_is_hidden_and_blocked() {
    within_limit(async {
        let gateway = gateway(ToolFilter::deny(["ask", "hang*"])).await;
        for client in clients(&gateway.url).await {
            let tools = client.tools().await;
            assert_eq!(tools, ["count", "echo", "notify", "release"]);
            let refused = client.try_call("ask", json!({ "question": "?" })).await;
            let refused = refused.expect_err("refused").to_string();
            assert!(refused.contains("the tool is not allowed"), "{refused}");
            assert_eq!(
                client.call("echo", json!({ "text": "hello" })).await,
                "hello"
            );
        }
    })
    .await;
}

#[tokio::test]
async fn field_inside_an_event_is_redacted() {
    within_limit(async {
        let progress = Interest::none().add(
            Direction::ToClient,
            Kind::Notification,
            "notifications/progress",
        );
        let redact = Redact::new(progress)
            .add_pointer("/params/message")
            .expect("a pointer");
        let gateway = gateway(redact.with_replacement("step x")).await;
        for client in clients(&gateway.url).await {
            let counted = client
                .call("count", json!({ "steps": 3, "delay_ms": 0 }))
                .await;
            assert!(counted.contains('3'), "{counted}");
            for _ in 0..3 {
                assert_eq!(client.hear().await, Heard::Progress("step x".to_owned()));
            }
        }
        assert_eq!(gateway.handle.stats().replaced_total, 6);
    })
    .await;
}

#[tokio::test]
async fn reply_is_mocked() {
    within_limit(async {
        let mock = sync_fn(Interest::requests("tools/call"), |_, _| {
            Verdict::Respond(
                r#"{"content":[{"type":"text","text":"mocked"}],"isError":false}"#.into(),
            )
        });
        let gateway = gateway(mock).await;
        for client in clients(&gateway.url).await {
            assert_eq!(
                client.call("echo", json!({ "text": "hello" })).await,
                "mocked"
            );
        }
    })
    .await;
}

/// HDR-14: the server of 2026-07-28 compares the header with the body.
#[tokio::test]
async fn call_of_another_name_reaches_the_server_with_that_name_in_its_header_too() {
    within_limit(async {
        let alias = sync_fn(Interest::requests("tools/call"), |_, message| {
            if message.envelope().name().as_deref() != Some("say") {
                return Verdict::Continue;
            }
            let mut edit = message.edit();
            edit.set("/params/name", "\"echo\"").expect("a place");
            edit.into()
        });
        let gateway = gateway(alias).await;
        for client in clients(&gateway.url).await {
            assert_eq!(
                client.call("say", json!({ "text": "hello" })).await,
                "hello"
            );
        }
    })
    .await;
}

/// What is held next; nothing tells a test when, so it looks whenever something has happened.
async fn held(pauses: &PauseHandle) -> HeldMessage {
    loop {
        if let Some(held) = pauses.list().pop() {
            return held;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn call_is_held_until_it_is_released() {
    within_limit(async {
        let hold = sync_fn(Interest::requests("tools/call"), |_, _| {
            Verdict::Pause(Pause::new())
        });
        let gateway = gateway((hold,)).await;
        let pauses = gateway.handle.pauses();
        for client in clients(&gateway.url).await {
            let release = async {
                let held = held(&pauses).await;
                assert_eq!(held.direction(), Direction::ToServer);
                assert!(held.preview().contains("hello"));
                let changed = held.message().as_str().replace("hello", "changed");
                pauses.replace(held.id(), changed).expect("it is held");
            };
            let call = client.call("echo", json!({ "text": "hello" }));
            let (answer, ()) = tokio::join!(call, release);
            assert_eq!(answer, "changed");
        }
    })
    .await;
}

#[tokio::test]
async fn single_event_is_held_until_it_is_released() {
    within_limit(async {
        let progress = Interest::none().add(
            Direction::ToClient,
            Kind::Notification,
            "notifications/progress",
        );
        let hold = sync_fn(progress, |_, message| {
            match message.get("/params/message") {
                Some(step) if step.contains("2 of 3") => Pause::new().into(),
                _ => Verdict::Continue,
            }
        });
        let gateway = gateway(hold).await;
        let pauses = gateway.handle.pauses();
        for client in clients(&gateway.url).await {
            let step = |n| Heard::Progress(format!("step {n} of 3"));
            let release = async {
                assert_eq!(client.hear().await, step(1));
                let held = held(&pauses).await;
                assert_eq!(held.direction(), Direction::ToClient);
                assert!(held.preview().contains("step 2 of 3"));
                pauses.release(held.id()).expect("it is held");
                assert_eq!(client.hear().await, step(2));
                assert_eq!(client.hear().await, step(3));
            };
            let call = client.call("count", json!({ "steps": 3, "delay_ms": 0 }));
            let (_, ()) = tokio::join!(call, release);
        }
        assert_eq!(gateway.handle.stats().paused_total, 2);
    })
    .await;
}
