//! The axum example: its own `app()`, and its handlers, which know nothing of ids.

// Its `main` is for whoever runs it.
#[allow(dead_code)]
#[path = "../examples/axum_app.rs"]
mod axum_app;

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use bytes::Bytes;
use http_body_util::BodyExt;
use shadowcat::sse::{Decoder, Frame, RawEvent};
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::time::Instant;
use tower::ServiceExt;

/// An event stream of the app, as its client reads it; dropped, its client is gone.
struct Events {
    body: Body,
    decoder: Decoder,
    chunk: Bytes,
}

impl Events {
    async fn get(app: &Router, cursor: Option<&str>) -> Self {
        let mut request = Request::get("/ticks").header("accept", "text/event-stream");
        if let Some(cursor) = cursor {
            request = request.header("last-event-id", cursor);
        }
        let request = request.body(Body::empty()).expect("a valid request");
        let response = app.clone().oneshot(request).await.expect("infallible");
        assert_eq!(response.status(), StatusCode::OK);
        Self {
            body: response.into_body(),
            decoder: Decoder::new(),
            chunk: Bytes::new(),
        }
    }

    /// The next event with data: its id, and that.
    async fn next(&mut self) -> (String, String) {
        loop {
            let frame = self.decoder.decode(&mut self.chunk).expect("a small event");
            match frame {
                Some(Frame::Event(event)) if event.has_data() => return parts(&event),
                Some(_) => {}
                None => {
                    let frame = self.body.frame().await.expect("no end").expect("no error");
                    self.chunk = frame.into_data().expect("no trailers");
                }
            }
        }
    }
}

fn parts(event: &RawEvent) -> (String, String) {
    let id = event.id().expect("each event has an id");
    let data = event.data().expect("it has data");
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("UTF-8");
    (text(id), text(&data))
}

#[tokio::test(start_paused = true)]
async fn ticks_go_on_where_their_client_was() {
    let app = axum_app::app();
    let mut events = Events::get(&app, None).await;
    assert_eq!(events.next().await.1, "1");
    let (cursor, two) = events.next().await;
    assert_eq!(two, "2");
    let started = Instant::now();

    drop(events);
    // The clock is paused: it stops at each tick on its way there.
    tokio::time::sleep(Duration::from_millis(3500)).await;
    let mut events = Events::get(&app, Some(&cursor)).await;
    for tick in ["3", "4", "5", "6"] {
        assert_eq!(events.next().await.1, tick);
    }
    // The same run of the handler, not one that starts when its client is back.
    assert!(started.elapsed() < Duration::from_millis(4500));

    let mut other = Events::get(&app, None).await;
    assert_eq!(other.next().await.1, "1", "a stream of its own");
}

#[tokio::test]
async fn resume_client_hears_everything_through_cuts() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}/mcp", listener.local_addr().expect("bound"));
    tokio::spawn(async { axum::serve(listener, axum_app::app()).await });

    // `cargo test` builds the examples next to the directory of the test binaries.
    let mut path: PathBuf = std::env::current_exe().expect("the test's own path");
    path.pop();
    path.pop();
    path.push("examples/resume_client");
    // One message at a time, which is also cut right before its answer; and in mid-event.
    for cut in [["--cut-after", "1"], ["--cut-after", "400b"]] {
        let run = Command::new(&path)
            .args(["--steps", "3", "--delay-ms", "1", "--cuts", "3"])
            .args(cut)
            .arg(&url)
            .stdin(Stdio::null())
            .output();
        let output = run.await.expect("`cargo test` builds the example");
        let (said, error) = (
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        assert!(output.status.success(), "{cut:?}: {said}{error}");
        assert!(said.contains("--- connection cut"), "{said}");
        assert!(
            said.ends_with("all 3 steps, once each and in order, and the answer\n"),
            "{said}"
        );
    }
}
